//! Minting tokens: every claim in one place, so that id_token, access token and introspection agree.

use keyrealm_auth::{Scope, ScopeSet};
use keyrealm_base::{ObjectId, TenantId, Timestamp};
use keyrealm_crypto::{CryptoError, sha256};
use keyrealm_jose::b64;
use keyrealm_jose::jws::Unverified;
use keyrealm_jose::jwt::{Claims, Expected, TokenError, validate};
use serde::Serialize;
use serde_json::json;

use crate::app::App;

/// What an access token is about.
pub(crate) struct AccessToken<'a> {
    /// `jti`.
    pub(crate) id: ObjectId,
    pub(crate) subject: String,
    pub(crate) client_id: &'a str,
    pub(crate) tenant: TenantId,
    pub(crate) scopes: ScopeSet,
    pub(crate) session: Option<ObjectId>,
    pub(crate) family: Option<ObjectId>,
    pub(crate) auth_time: Option<Timestamp>,
}

/// What an id_token is about.
pub(crate) struct IdToken<'a> {
    pub(crate) subject: String,
    pub(crate) client_id: &'a str,
    pub(crate) session: ObjectId,
    pub(crate) auth_time: Timestamp,
    pub(crate) nonce: Option<&'a str>,
    pub(crate) access_token: &'a str,
}

/// The claims of an access token: typed, as most tokens that are minted are these.
#[derive(Serialize)]
struct AccessClaims<'a> {
    iss: &'a str,
    aud: Audience<'a>,
    sub: &'a str,
    client_id: &'a str,
    tenant_id: TenantId,
    scope: String,
    jti: ObjectId,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<ObjectId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<ObjectId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
}

/// `aud`: the KMS, and Identity itself where userinfo may be asked.
#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Both([&'a str; 2]),
}

/// How far `nbf` lies back, for verifiers whose clocks are behind.
const NBF_BACK: i64 = 10;

impl App {
    /// The id of a new access token.
    pub(crate) fn token_id(&self) -> ObjectId {
        ObjectId::new(self.clock.as_ref(), self.random.as_ref())
    }

    /// An access token (RFC 9068, section 2.2).
    pub(crate) fn mint_access(&self, about: &AccessToken<'_>) -> Result<String, CryptoError> {
        let now = self.clock.now().seconds();
        let audience = if about.scopes.contains(Scope::OpenId) {
            Audience::Both([&self.audience, &self.issuer])
        } else {
            Audience::One(&self.audience)
        };
        let claims = AccessClaims {
            iss: &self.issuer,
            aud: audience,
            sub: &about.subject,
            client_id: about.client_id,
            tenant_id: about.tenant,
            scope: about.scopes.to_string(),
            jti: about.id,
            iat: now,
            nbf: now - NBF_BACK,
            exp: now + i64::from(self.lifetimes.access_seconds),
            sid: about.session,
            family: about.family,
            auth_time: about.auth_time.map(Timestamp::seconds),
        };
        self.keys.sign_access(&claims)
    }

    /// An id_token (OpenID Connect Core, sections 2 and 3.1.3.6). Profile claims are at userinfo.
    pub(crate) fn mint_id(&self, about: &IdToken<'_>) -> Result<String, CryptoError> {
        let now = self.clock.now().seconds();
        let hash = sha256(about.access_token.as_bytes());
        let mut claims = json!({
            "iss": self.issuer,
            "aud": about.client_id,
            "sub": about.subject,
            "iat": now,
            "exp": now + i64::from(self.lifetimes.id_seconds),
            "auth_time": about.auth_time.seconds(),
            "sid": about.session,
            "acr": "1",
            "amr": ["pwd"],
            "at_hash": b64::encode(hash.get(..16).unwrap_or_default()),
        });
        if let (Some(nonce), Some(claims)) = (about.nonce, claims.as_object_mut()) {
            claims.insert("nonce".to_owned(), nonce.into());
        }
        self.keys.sign_id(&claims)
    }

    /// The claims of one of our own access tokens for this audience.
    pub(crate) fn own_access(&self, token: &str, audience: &str) -> Result<Claims, TokenError> {
        let expected =
            Expected { typ: "at+jwt", algorithms: &["ES256"], issuer: &self.issuer, audience, now: self.clock.now() };
        validate(Unverified::parse(token)?, &self.keys.verifying, &expected)
    }
}
