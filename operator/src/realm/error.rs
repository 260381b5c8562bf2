//! What a pass over a Realm could not do.

use keyrealm_pki::PkiError;
use keyrealm_registry::RegistryError;

use crate::databases::DatabaseError;
use crate::error::ApiError;
use crate::report::Report;

/// What a pass over a Realm could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call of the API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The registrar's work.
    #[error("realm {realm}: {attempt} failed: {source}")]
    Registry {
        /// Whose.
        realm: String,
        /// What was tried.
        attempt: &'static str,
        /// Why not.
        source: RegistryError,
    },
    /// A certificate.
    #[error("realm {realm}: {attempt} failed: {source}; correct spec.tls or the CA's Secret")]
    Pki {
        /// Whose.
        realm: String,
        /// What was tried.
        attempt: &'static str,
        /// Why not.
        source: PkiError,
    },
    /// A Secret that was there a moment ago.
    #[error("realm {realm}: {secret} is not as it was a moment ago: {why}; it is looked at again")]
    Secret {
        /// Whose.
        realm: String,
        /// Which.
        secret: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// As a condition.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Api(error) => error.report(),
            Self::Pki { .. } => Report::stalled("InvalidSpec", self.to_string()),
            Self::Secret { .. } => Report::reconciling("RolloutInProgress", self.to_string()),
            Self::Registry { source: RegistryError::OtherSecret { what, .. }, .. } => {
                let reason = if what.contains("root") { "RootKeyMissing" } else { "UnsealKeyMissing" };
                Report::stalled(reason, self.to_string())
            }
            Self::Registry { realm, source, .. } => {
                let reason = DatabaseError::new(realm, source).reason();
                Report::reconciling(reason, self.to_string())
            }
        }
    }
}
