//! JSON bodies: the right content type, no duplicate members, bounded depth, no unknown fields (by the type).

use axum::extract::{FromRequest, Request};
use keyrealm_base::ProblemCode;
use keyrealm_jose::json;
use serde::de::DeserializeOwned;

use super::{body, has_type};
use crate::Problem;

/// A JSON body.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !has_type(&request, "application/json") {
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, "the body must be `application/json`"));
        }
        parse(&body(request).await?).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value = json::value(bytes).map_err(|error| Problem::new(ProblemCode::InvalidJson, error.to_string()))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let reason = without_values(&error.inner().to_string());
        Problem::new(ProblemCode::InvalidField, format!("`{path}`: {reason}")).with("field", path)
    })
}

/// serde quotes the value that it refuses; a secret in the wrong field must not come back.
fn without_values(reason: &str) -> String {
    match reason.split_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => {
            let kind = found.split_once(": ").map_or(found, |(kind, _)| kind);
            format!("{kind}, expected {expected}")
        }
        _ => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only the refusals are looked at")]
    struct Body {
        name: String,
        list: Option<Vec<u8>>,
    }

    fn refusal(text: &str) -> (ProblemCode, String) {
        let problem = parse::<Body>(text.as_bytes()).unwrap_err();
        (problem.code(), format!("{problem:?}"))
    }

    #[test]
    fn refusals_name_the_place_and_not_the_value() {
        let (code, text) = refusal(r#"{"name": 123456789}"#);
        assert!(code == ProblemCode::InvalidField && text.contains("`name`") && !text.contains("123456789"), "{text}");
        let (_, text) = refusal(r#"{"name": "x", "list": ["canary"]}"#);
        assert!(text.contains("`list[0]`") && !text.contains("canary"), "{text}");
        assert!(refusal(r#"{"nome": "x"}"#).1.contains("unknown field `nome`"));
        assert!(refusal(r#"{"name":"a","name":"b"}"#).1.contains("twice"));
        assert_eq!(refusal("{").0, ProblemCode::InvalidJson);
        assert_eq!(refusal(&"[".repeat(100_000)).0, ProblemCode::InvalidJson);
    }
}
