//! Where the servers are and who may log in: what the steps need, whichever target it comes from.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use identity::seed::DemoCredentials;
use keyrealm_http::client::HttpsClient;
use url::Url;

/// Complaints that are kept, the newest ones.
#[cfg(feature = "kubernetes")]
const COMPLAINTS: usize = 8;

/// Where everything is, and who may log in.
pub(crate) struct Endpoints {
    /// Identity's issuer.
    pub(crate) issuer: Url,
    /// The KMS.
    pub(crate) kms: Url,
    /// The admin listeners.
    pub(crate) admin: [Admin; 2],
    /// The CA bundle.
    pub(crate) ca: PathBuf,
    /// Files that the card names.
    pub(crate) files: Files,
    /// Users and clients.
    pub(crate) credentials: DemoCredentials,
    /// Trusts the bundle.
    pub(crate) client: HttpsClient,
    /// How a shell on this machine gets at the servers.
    pub(crate) shell: Shell,
    /// What went wrong on the way to them.
    pub(crate) complaints: Complaints,
}

/// An admin listener.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The product's name.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) url: Url,
    /// Trusts the bundle.
    pub(crate) plain: HttpsClient,
    /// Shows a certificate as well, if there is one.
    pub(crate) operator: Option<HttpsClient>,
}

/// Files of a run.
pub(crate) enum Files {
    /// The folder of servers in this process.
    Folder(PathBuf),
    /// The file with users and clients that was given.
    Credentials(PathBuf),
}

/// What commands for a shell need.
#[derive(Default)]
pub(crate) struct Shell {
    /// Commands that must run meanwhile, each in a terminal of its own.
    pub(crate) first: Vec<String>,
    /// Further arguments of curl, each with a space before it.
    pub(crate) curl: String,
}

/// What went wrong on the way to the servers, told by whoever carries the bytes.
#[derive(Clone, Default)]
pub(crate) struct Complaints(Arc<Mutex<VecDeque<String>>>);

impl Complaints {
    /// Keeps a complaint; the oldest one goes when there are too many.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn say(&self, complaint: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == COMPLAINTS {
            kept.pop_front();
        }
        kept.push_back(complaint);
    }

    /// What was said since the last call, the same words once.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut kept: Vec<String> = self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        kept.dedup();
        kept
    }
}
