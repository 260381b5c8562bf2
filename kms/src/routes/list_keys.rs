//! `GET /api/v1/keys`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use keyrealm_auth::Caller;
use keyrealm_base::ProblemCode;
use keyrealm_http::Problem;
use keyrealm_http::extract::Query;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::view::KeyView;
use crate::domain::algorithm::Algorithm;
use crate::domain::key::KeyState;
use crate::storage::keys::{Filter, SortColumn};

const PARAMETERS: [&str; 6] = ["name[]", "algorithm[]", "state[]", "sort[]", "page", "size"];
const MAX_SIZE: u32 = 50;
const DEFAULT_SIZE: u32 = 25;
const MAX_VALUES: usize = 50;

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyList {
    items: Vec<KeyView>,
    /// How many keys the filter matches in all.
    total: i64,
    /// The address of the next page.
    next: Option<String>,
}

/// Lists keys.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys",
    params(
        ("name[]" = Option<Vec<String>>, Query, description = "Only keys of these names"),
        ("algorithm[]" = Option<Vec<String>>, Query, description = "Only keys of these algorithms"),
        ("state[]" = Option<Vec<String>>, Query, description = "Only keys in these states: active, disabled"),
        ("sort[]" = Option<Vec<String>>, Query, max_items = 5, description = "`field` or `field:ASC|DESC`, no field twice; field is name, algorithm, state, created_at or updated_at"),
        ("page" = Option<u32>, Query, maximum = 1000000, description = "From 0"),
        ("size" = Option<u32>, Query, minimum = 1, maximum = 50, description = "1 to 50, 25 if not given"),
    ),
    responses(
        (status = 200, description = "A page", body = KeyList), (status = 400, description = "A parameter is not allowed"),
    )
)]
pub(crate) async fn list_keys(State(app): State<App>, caller: Caller, query: Query) -> Result<Json<KeyList>, Response> {
    let filter = filter(&query).map_err(IntoResponse::into_response)?;
    let (keys, total) = app.service.keys(caller.tenant, &filter).await.map_err(IntoResponse::into_response)?;
    let seen = i64::from(filter.page) * i64::from(filter.size) + i64::from(filter.size);
    let next = (seen < total).then(|| next(&query, filter.page + 1));
    Ok(Json(KeyList { items: keys.into_iter().map(KeyView::from).collect(), total, next }))
}

fn refuse(detail: String) -> Problem {
    Problem::new(ProblemCode::InvalidQuery, detail)
}

fn filter(query: &Query) -> Result<Filter, Problem> {
    query.only(&PARAMETERS)?;
    let list = |name: &'static str, allowed: &dyn Fn(&str) -> bool, what: String| {
        let values: Vec<String> = query.list(name).map(str::to_owned).collect();
        if values.len() > MAX_VALUES || !values.iter().all(|value| allowed(value)) {
            return Err(refuse(format!("`{name}` takes at most {MAX_VALUES} values; allowed: {what}")));
        }
        Ok(values)
    };
    let states = KeyState::ALL.map(KeyState::name).join(", ");
    Ok(Filter {
        names: list("name[]", &|value| value.len() <= 63, "names".to_owned())?,
        algorithms: list("algorithm[]", &|value| Algorithm::from_name(value).is_some(), Algorithm::names().join(", "))?,
        states: list("state[]", &|value| KeyState::from_name(value).is_some(), states)?,
        sort: sorts(query)?,
        page: number(query, "page", 0, 0, 1_000_000)?,
        size: number(query, "size", DEFAULT_SIZE, 1, MAX_SIZE)?,
    })
}

/// No column twice, and so no more of them than there are.
fn sorts(query: &Query) -> Result<Vec<(SortColumn, bool)>, Problem> {
    let mut sorts: Vec<(SortColumn, bool)> = Vec::new();
    for text in query.list("sort[]") {
        let sort = sort(text)?;
        if sorts.iter().any(|(column, _)| *column == sort.0) {
            return Err(refuse(format!("`sort[]` has the field {} twice; give each at most once", sort.0.name())));
        }
        sorts.push(sort);
    }
    Ok(sorts)
}

fn sort(text: &str) -> Result<(SortColumn, bool), Problem> {
    let (name, direction) = text.split_once(':').unwrap_or((text, "ASC"));
    let column = SortColumn::ALL.into_iter().find(|column| column.name() == name);
    match (column, direction) {
        (Some(column), "ASC") => Ok((column, false)),
        (Some(column), "DESC") => Ok((column, true)),
        _ => {
            let names = SortColumn::ALL.map(SortColumn::name).join(", ");
            Err(refuse(format!("`sort[]` is `field` or `field:ASC|DESC`; allowed fields: {names}")))
        }
    }
}

fn number(query: &Query, name: &'static str, default: u32, least: u32, most: u32) -> Result<u32, Problem> {
    match query.get(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| refuse(format!("`{name}` must be a number from {least} to {most}"))),
    }
}

fn next(query: &Query, page: u32) -> String {
    let mut parameters = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.0.iter().filter(|(name, _)| name != "page") {
        parameters.append_pair(name, value);
    }
    parameters.append_pair("page", &page.to_string());
    format!("/api/v1/keys?{}", parameters.finish())
}
