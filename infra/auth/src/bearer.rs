//! Bearer tokens (RFC 6750, RFC 9068): verified once, remembered for a short time, checked for revocation every time.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::{SharedClock, TenantId, Timestamp};
use keyrealm_crypto::sha256;
use keyrealm_jose::jws::Unverified;
use keyrealm_jose::jwt::{Claims, Expected, TokenError, peek_issuer, validate};
use moka::sync::Cache;

use crate::{JwksCache, JwksError, JwksState, Principal, RevocationList, ScopeSet};

/// Tokens that are remembered.
const REMEMBERED: u64 = 100_000;
/// For how long a verified token is taken without verifying it again.
const MEMORY: Duration = Duration::from_mins(1);
/// How often the keys' age is looked at: a little more than the least time between two reads.
const KEYS_ROUND: Duration = Duration::from_secs(15);
/// The same while nobody can be let in.
const KEYS_ROUND_UNUSABLE: Duration = Duration::from_secs(1);
/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;

/// An issuer whose access tokens are taken.
pub struct TrustedIssuer {
    /// Compared with `iss` byte by byte.
    pub issuer: String,
    /// Its keys.
    pub keys: JwksCache,
}

/// How it stands with all issuers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuersState {
    /// All keys are fresh.
    Good,
    /// Some issuer cannot be read; callers are let in with the keys at hand, or those of other issuers are.
    Degraded(String),
    /// No issuer has keys that could be used: nobody is let in.
    Unusable(String),
}

impl IssuersState {
    fn of(states: &[JwksState]) -> Self {
        let errors = states.iter().filter_map(|state| match state {
            JwksState::Fresh => None,
            JwksState::Stale(error) | JwksState::Unusable(error) => Some(error.to_string()),
        });
        let errors: Vec<String> = errors.collect();
        if errors.is_empty() {
            Self::Good
        } else if states.iter().all(|state| matches!(state, JwksState::Unusable(_))) {
            Self::Unusable(errors.join("; "))
        } else {
            Self::Degraded(errors.join("; "))
        }
    }
}

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization: Bearer`.
    #[error("no bearer token was given")]
    Missing,
    /// The token is not valid.
    #[error("{0}")]
    Invalid(#[from] TokenError),
    /// The token is longer than any that is issued.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// The token is from an issuer that is not trusted here.
    #[error("the token is from an issuer that is not trusted here")]
    UnknownIssuer,
    /// The token, its session, family, user or client was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// The issuer's keys cannot be had.
    #[error(transparent)]
    Issuer(#[from] JwksError),
    /// Whether it was revoked is not known.
    #[error(transparent)]
    Revocations(#[from] crate::RevocationsUnknown),
}

/// Verifies bearer tokens for one audience.
pub struct BearerVerifier {
    issuers: Vec<TrustedIssuer>,
    audience: String,
    revocations: Arc<RevocationList>,
    clock: SharedClock,
    verified: Cache<[u8; 32], Arc<Principal>>,
}

impl BearerVerifier {
    /// A verifier for tokens whose `aud` contains `audience`.
    #[must_use]
    pub fn new(
        issuers: Vec<TrustedIssuer>,
        audience: String,
        revocations: Arc<RevocationList>,
        clock: SharedClock,
    ) -> Self {
        let verified = Cache::builder().max_capacity(REMEMBERED).time_to_live(MEMORY).build();
        Self { issuers, audience, revocations, clock, verified }
    }

    /// Keeps the issuers' keys fresh, so that no caller waits for an issuer while it answers; `show` is told how it stands
    /// after each round. Ends never.
    pub async fn follow_keys(self: Arc<Self>, show: impl Fn(IssuersState)) {
        loop {
            let rounds = self.issuers.iter().map(|issuer| issuer.keys.refresh());
            let state = IssuersState::of(&futures_util::future::join_all(rounds).await);
            let round = if matches!(state, IssuersState::Unusable(_)) { KEYS_ROUND_UNUSABLE } else { KEYS_ROUND };
            show(state);
            tokio::time::sleep(round).await;
        }
    }

    /// The caller behind a token.
    ///
    /// # Errors
    /// When the token is not valid, was revoked, or cannot be checked.
    pub async fn verify(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        let now = self.clock.now();
        let hash = sha256(token.as_bytes());
        let principal = match self.verified.get(&hash) {
            Some(principal) => principal,
            None => {
                // On the heap: the future of a warm call stays small.
                let principal = Arc::new(Box::pin(self.validate(token, now)).await?);
                self.verified.insert(hash, Arc::clone(&principal));
                principal
            }
        };
        if principal.expires <= now {
            return Err(TokenError::Expired.into());
        }
        if self.revocations.is_revoked(&principal, now)? {
            return Err(AuthError::Revoked);
        }
        Ok(principal)
    }

    async fn validate(&self, token: &str, now: Timestamp) -> Result<Principal, AuthError> {
        if token.len() > MAX_TOKEN {
            return Err(AuthError::TooLong);
        }
        let unverified = Unverified::parse(token).map_err(TokenError::from)?;
        let named = peek_issuer(&unverified).ok_or(AuthError::Invalid(TokenError::Claim("iss")))?;
        let issuer = self.issuers.iter().find(|issuer| issuer.issuer == named).ok_or(AuthError::UnknownIssuer)?;
        let kid = unverified.header("kid").unwrap_or_default().to_owned();
        let keys = issuer.keys.keys_for(&kid).await?;
        let expected =
            Expected { typ: "at+jwt", algorithms: &["ES256"], issuer: &issuer.issuer, audience: &self.audience, now };
        Ok(principal(&validate(unverified, &keys, &expected)?)?)
    }
}

fn principal(claims: &Claims) -> Result<Principal, TokenError> {
    let tenant = match claims.text("tenant_id") {
        None => None,
        Some(text) => Some(text.parse::<TenantId>().map_err(|_| TokenError::Claim("tenant_id"))?),
    };
    let scopes = ScopeSet::parse(claims.text("scope").unwrap_or_default()).map_err(|_| TokenError::Claim("scope"))?;
    Ok(Principal {
        issuer: claims.required("iss")?.to_owned(),
        subject: claims.required("sub")?.to_owned(),
        client_id: claims.required("client_id")?.to_owned(),
        tenant,
        scopes: scopes.known,
        token_id: claims.required("jti")?.to_owned(),
        session: claims.text("sid").map(str::to_owned),
        family: claims.text("family").map(str::to_owned),
        expires: claims.instant("exp").ok_or(TokenError::Claim("exp"))?,
    })
}
