//! What the steps share: the endpoints, what earlier steps found, and calls.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, header};
use keyrealm_http::client::Answer;
use keyrealm_jose::jwk::VerifyingKeys;
use serde_json::Value;
use url::Url;

use crate::browser::Browser;
use crate::endpoints::Endpoints;

/// The state of a run.
pub(crate) struct World<'e> {
    pub(crate) at: &'e Endpoints,
    pub(crate) health_timeout: Duration,
    pub(crate) metadata: Value,
    pub(crate) keys: Option<VerifyingKeys>,
    pub(crate) browser: Browser,
    pub(crate) code: String,
    pub(crate) verifier: String,
    pub(crate) nonce: String,
    pub(crate) access: String,
    /// The first refresh token, used up by the rotation.
    pub(crate) refresh: String,
    /// The newest of its family.
    pub(crate) newest_refresh: String,
    pub(crate) id_token: String,
    pub(crate) encryption_key: String,
    pub(crate) signing_key: String,
    pub(crate) ciphertext: String,
    pub(crate) signature: String,
}

/// The client that most steps use.
pub(crate) const CLIENT: &str = "demo-confidential-client";
/// The same of the second tenant.
pub(crate) const CLIENT_2: &str = "demo-2.demo-confidential-client";
pub(crate) const CONTEXT: &str = "order=4711";
pub(crate) const PLAINTEXT: &str = "a secret of the first tenant";

impl<'e> World<'e> {
    pub(crate) fn new(at: &'e Endpoints, health_timeout: Duration) -> Self {
        let text = String::new;
        Self {
            at,
            health_timeout,
            metadata: Value::Null,
            keys: None,
            browser: Browser::new(at.client.clone()),
            code: text(),
            verifier: text(),
            nonce: text(),
            access: text(),
            refresh: text(),
            newest_refresh: text(),
            id_token: text(),
            encryption_key: text(),
            signing_key: text(),
            ciphertext: text(),
            signature: text(),
        }
    }

    /// An endpoint that the metadata names.
    pub(crate) fn endpoint(&self, name: &str) -> Result<Url> {
        let text = self.metadata.get(name).and_then(Value::as_str);
        Ok(text.with_context(|| format!("the metadata has no {name}"))?.parse()?)
    }

    /// A call of an OAuth endpoint by a client.
    pub(crate) async fn oauth(&mut self, endpoint: &str, client_id: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let url = self.endpoint(endpoint)?;
        let secret = self.at.credentials.secret(client_id);
        let basic = format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}")));
        self.at.client.post_form(&url, &[(header::AUTHORIZATION, &basic)], fields).await
    }

    /// An access token of a client of its own.
    pub(crate) async fn client_token(&mut self, client_id: &str, scope: &str) -> Result<String> {
        let mut fields = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            fields.push(("scope", scope));
        }
        let answer = self.oauth("token_endpoint", client_id, &fields).await?;
        ensure!(answer.status == 200, "the token endpoint answered {}: {}", answer.status, error_of(&answer));
        text(&answer.json(), "access_token")
    }

    /// A call of the KMS.
    pub(crate) async fn kms(&mut self, token: &str, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let url = self.at.kms.join(path)?;
        let bearer = format!("Bearer {token}");
        let mut headers = Vec::new();
        if !token.is_empty() {
            headers.push((header::AUTHORIZATION, bearer.as_str()));
        }
        if body.is_some() {
            headers.push((header::CONTENT_TYPE, "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.at.client.send(method, &url, &headers, body).await
    }

    /// A call of the KMS with the user's token that must succeed.
    pub(crate) async fn operate(&mut self, key: &str, operation: &str, body: Value) -> Result<Value> {
        let token = self.access.clone();
        let answer = self.kms(&token, Method::POST, &format!("/api/v1/keys/{key}/{operation}"), Some(body)).await?;
        ensure!(answer.status == 200, "{operation} answered {}: {}", answer.status, error_of(&answer));
        Ok(answer.json())
    }
}

/// A text member that must be there.
pub(crate) fn text(value: &Value, name: &str) -> Result<String> {
    let text = value.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("the answer has no `{name}`"))?.to_owned())
}

/// The last part of a problem's type.
pub(crate) fn problem(answer: &Answer) -> String {
    let body = answer.json();
    let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
    kind.trim_start_matches("/problems/").to_owned()
}

/// What an error answer says of itself.
pub(crate) fn error_of(answer: &Answer) -> String {
    let body = answer.json();
    let part = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    [part("error"), part("error_description"), part("title"), part("detail")]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}
