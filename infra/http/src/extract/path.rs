//! Ids in paths.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use keyrealm_base::ProblemCode;

use crate::Problem;

/// The id in the path.
pub struct PathId<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err: std::fmt::Display>> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(ProblemCode::InvalidId, "the path holds no readable id"))?;
        text.parse().map(Self).map_err(|error: T::Err| Problem::new(ProblemCode::InvalidId, error.to_string()))
    }
}
