//! Calls that take no body.

use axum::extract::{FromRequest, Request};
use keyrealm_base::ProblemCode;
use keyrealm_jose::json;

use super::{body, has_type};
use crate::Problem;

/// No body, or an object without members: anything else was meant to do something, and would not.
pub struct Empty;

impl<S: Send + Sync> FromRequest<S> for Empty {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = has_type(&request, "application/json");
        let bytes = body(request).await?;
        if bytes.is_empty() {
            return Ok(Self);
        }
        if !is_json {
            return Err(Problem::new(
                ProblemCode::UnsupportedMediaType,
                "the body must be `application/json`, or none",
            ));
        }
        match json::object(&bytes) {
            Ok(members) if members.is_empty() => Ok(Self),
            Ok(members) => {
                let name: String = members.keys().next().map_or("", String::as_str).chars().take(40).collect();
                let detail = format!("`{name}`: this call takes no members; leave the body out or send `{{}}`");
                Err(Problem::new(ProblemCode::InvalidField, detail).with("field", name))
            }
            Err(error) => Err(Problem::new(ProblemCode::InvalidJson, error.to_string())),
        }
    }
}
