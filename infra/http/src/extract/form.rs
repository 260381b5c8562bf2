//! Form bodies of OAuth endpoints: no parameter twice (RFC 6749, section 3.1).

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};

use super::{body, has_type};
use crate::{OAuthError, OAuthErrorCode};

/// The decoded parameters. Empty values count as not given (RFC 6749, section 3.1).
pub struct Form(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let refuse = |text: &str| OAuthError::new(OAuthErrorCode::InvalidRequest, text).into_response();
        if !has_type(&request, "application/x-www-form-urlencoded") {
            return Err(refuse("the body must be application/x-www-form-urlencoded"));
        }
        let bytes = body(request).await.map_err(IntoResponse::into_response)?;
        Self::parse(&bytes).map_err(|name| refuse(&format!("the parameter {name} is given twice")))
    }
}

impl Form {
    /// Parses parameters.
    ///
    /// # Errors
    /// The name of one that is given twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let all: Vec<(String, String)> = form_urlencoded::parse(bytes).into_owned().collect();
        for (at, (name, _)) in all.iter().enumerate() {
            if all.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(name.chars().take(40).collect());
            }
        }
        Ok(Self(all))
    }

    /// The value of a parameter, if it is given and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}
