//! `/problems/<code>`: what a problem means and how to mend it.

use std::fmt::Write;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use keyrealm_base::ProblemCode;

use crate::Problem;

/// The routes of the documentation; open to everybody.
pub fn problem_docs<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/problems", get(all)).route("/problems/{code}", get(one))
}

async fn all() -> Response {
    let mut text = String::new();
    for code in ProblemCode::ALL {
        let _ = writeln!(text, "/problems/{code}  {}  {}", code.status(), code.title());
    }
    plain(text)
}

async fn one(Path(code): Path<String>) -> Response {
    match ProblemCode::from_code(&code) {
        Some(code) => plain(format!("{code}\nstatus: {}\n\n{}.\n{}\n", code.status(), code.title(), code.help())),
        None => Problem::new(ProblemCode::NotFound, "there is no problem of this name; /problems lists them")
            .into_response(),
    }
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
