//! What the service refuses or cannot do, and the one table that maps it to problems.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use keyrealm_barrier::{BarrierError, HeadError, RecordError};
use keyrealm_base::ProblemCode;
use keyrealm_crypto::CryptoError;
use keyrealm_http::Problem;
use keyrealm_store::{Passing, StoreError};

use crate::domain::algorithm::Algorithm;
use crate::domain::key::KeyState;

/// Why an operation on keys did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KmsError {
    #[error("there is no such key")]
    NotFound,
    #[error("the name is in use")]
    NameTaken,
    #[error("`{field}` {reason}")]
    Field { field: &'static str, reason: &'static str },
    #[error("unknown algorithm")]
    UnknownAlgorithm,
    #[error("the key's algorithm does not do this")]
    WrongPurpose { algorithm: String },
    #[error("the key is {}", .0.name())]
    State(KeyState),
    #[error("the key is managed by a resource")]
    Managed,
    #[error("the key version is used up")]
    UsedUp,
    #[error("the ciphertext does not open")]
    Decrypt,
    #[error("the signature does not verify")]
    Verify,
    #[error("the tenant is not known")]
    UnknownTenant,
    #[error("the tenant is disabled")]
    TenantDisabled,
    #[error("{0}")]
    Integrity(String),
    #[error("too much slow work is waiting")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Another caller's attempt to load the same thing failed.
    #[error("{0}")]
    Shared(Arc<KmsError>),
}

impl From<HeadError> for KmsError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Store(error) => Self::Store(error),
            other => Self::Integrity(other.to_string()),
        }
    }
}

impl Passing for KmsError {
    fn is_passing(&self) -> bool {
        Self::is_passing(self)
    }
}

impl From<RecordError> for KmsError {
    fn from(error: RecordError) -> Self {
        Self::Integrity(error.to_string())
    }
}

impl KmsError {
    /// Whether the same call may succeed a moment later without anybody's doing.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Busy | Self::UnknownTenant | Self::TenantDisabled => true,
            Self::Store(error) | Self::Barrier(BarrierError::Store(error)) => error.is_passing(),
            Self::Shared(inner) => inner.is_passing(),
            _ => false,
        }
    }

    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::new(ProblemCode::NotFound, "there is no such key"),
            Self::NameTaken => Problem::new(ProblemCode::NameTaken, "a key of this name exists already"),
            Self::Field { field, reason } => {
                let code = if *field == "context" { ProblemCode::InvalidContext } else { ProblemCode::InvalidField };
                Problem::new(code, format!("`{field}` {reason}")).with("field", *field)
            }
            Self::UnknownAlgorithm => {
                let names = Algorithm::names().join(", ");
                Problem::new(ProblemCode::AlgorithmNotAllowed, format!("`algorithm` must be one of: {names}"))
            }
            Self::WrongPurpose { algorithm } => {
                Problem::new(ProblemCode::WrongKeyPurpose, format!("a key of {algorithm} does not do this"))
            }
            Self::State(state) => Problem::new(ProblemCode::KeyState, format!("the key is {}", state.name())),
            Self::Managed => ProblemCode::ManagedByResource.into(),
            Self::UsedUp => Problem::new(
                ProblemCode::LimitReached,
                "this version has encrypted as often as its algorithm allows; rotate the key",
            ),
            Self::Decrypt => Problem::from(ProblemCode::DecryptionFailed).help(
                "Give the ciphertext as encrypt returned it, with the same `context`, to the key that made it. The server \
                 does not say which of them is wrong.",
            ),
            Self::Verify => Problem::from(ProblemCode::SignatureInvalid).help(
                "Give the signature as sign returned it, with the same `context`, to the key that made it. The server does \
                 not say which of them is wrong.",
            ),
            Self::UnknownTenant => Problem::new(ProblemCode::NoTenant, "the token's `tenant_id` is no tenant of this realm"),
            Self::TenantDisabled => Problem::new(ProblemCode::TenantUnavailable, "the tenant is disabled")
                .help("Ask whoever runs this realm to enable the tenant; trying again does not help before that.")
                .header(RETRY_AFTER, "60"),
            Self::Integrity(_) => ProblemCode::IntegrityError.into(),
            Self::Store(StoreError::Stale) => Problem::from(ProblemCode::StaleKeys).header(RETRY_AFTER, "1"),
            Self::Store(StoreError::NotPrepared { .. }) => {
                Problem::from(ProblemCode::TenantUnavailable).header(RETRY_AFTER, "1")
            }
            Self::Barrier(BarrierError::Store(error)) | Self::Store(error) if error.is_passing() => {
                Problem::from(ProblemCode::Unavailable).header(RETRY_AFTER, "1")
            }
            Self::Busy => Problem::from(ProblemCode::Unavailable).header(RETRY_AFTER, "1"),
            Self::Barrier(BarrierError::Integrity { .. }) => ProblemCode::IntegrityError.into(),
            Self::Store(_) | Self::Barrier(_) | Self::Crypto(_) => ProblemCode::Internal.into(),
            Self::Shared(inner) => inner.problem(),
        }
    }
}

impl IntoResponse for KmsError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if problem.code().status() >= 500 {
            tracing::error!(error = %self, "the operation failed");
        }
        problem.into_response()
    }
}
