//! Authenticating clients: `client_secret_basic`, `client_secret_post`, `none` (RFC 6749, section 2.3).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use keyrealm_http::extract::Form;
use keyrealm_http::{OAuthError, OAuthErrorCode};
use keyrealm_registry::specs::ClientType;

use crate::app::App;
use crate::directory::Client;
use crate::domain::client::ClientRules;

struct Given {
    client_id: String,
    secret: Option<String>,
}

fn refuse(code: OAuthErrorCode, text: &str) -> OAuthError {
    OAuthError::new(code, text)
}

/// The same words for an unknown client and a wrong secret.
fn invalid_client() -> OAuthError {
    refuse(OAuthErrorCode::InvalidClient, "the client is unknown or its secret is wrong")
}

impl App {
    /// The client that makes the request.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap, form: &Form) -> Result<Arc<Client>, OAuthError> {
        let given = read(headers, form)?;
        let client = self.directory.client(&given.client_id).await.map_err(|error| {
            tracing::error!(%error, "cannot read a client");
            refuse(OAuthErrorCode::ServerError, "the server failed")
        })?;
        let client = client.ok_or_else(invalid_client)?;
        match (client.spec.kind, given.secret) {
            (ClientType::Confidential, Some(secret)) if client.spec.has_secret(&secret) => Ok(client),
            (ClientType::Public, None) => Ok(client),
            _ => Err(invalid_client()),
        }
    }

    /// The confidential client that makes the request; introspection is not for public ones.
    pub(crate) async fn authenticate_confidential(
        &self,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<Arc<Client>, OAuthError> {
        let client = self.authenticate(headers, form).await?;
        if client.spec.kind == ClientType::Confidential { Ok(client) } else { Err(invalid_client()) }
    }
}

fn read(headers: &HeaderMap, form: &Form) -> Result<Given, OAuthError> {
    let basic = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let in_body = (form.get("client_id"), form.get("client_secret"));
    match (basic, in_body) {
        (Some(_), (_, Some(_))) => {
            Err(refuse(OAuthErrorCode::InvalidRequest, "use one way of client authentication, not two"))
        }
        (Some(basic), (body_id, None)) => {
            let (client_id, secret) = decode_basic(basic).ok_or_else(invalid_client)?;
            if body_id.is_some_and(|id| id != client_id) {
                return Err(refuse(OAuthErrorCode::InvalidRequest, "client_id differs from the authenticated client"));
            }
            Ok(Given { client_id, secret: Some(secret) })
        }
        (None, (Some(client_id), secret)) => {
            Ok(Given { client_id: client_id.to_owned(), secret: secret.map(str::to_owned) })
        }
        (None, (None, _)) => Err(refuse(OAuthErrorCode::InvalidClient, "client authentication is missing")),
    }
}

/// Both parts are form-encoded before they are joined (RFC 6749, section 2.3.1).
fn decode_basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decode(id)?, form_decode(secret)?))
}

fn form_decode(text: &str) -> Option<String> {
    // One value without name; `&` and `=` would stand encoded in it.
    if text.contains(['&', '=']) {
        return None;
    }
    Some(form_urlencoded::parse(text.as_bytes()).next().map(|(value, _)| value.into_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_form_decoded() {
        let basic = |text: &str| decode_basic(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(basic("a%3Ab:s%3A%20+%25"), Some(("a:b".into(), "s:  %".into())));
        assert_eq!(basic("a:s:t"), Some(("a".into(), "s:t".into())));
        assert_eq!(basic("no colon"), None);
        assert_eq!(decode_basic("Bearer x"), None);
    }
}
