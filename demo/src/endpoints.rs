//! Where the servers are and who may log in: what the steps need, whichever target it comes from.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use identity::seed::DemoCredentials;
use url::Url;

use crate::calls::Caller;

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
    pub(crate) client: Caller,
    /// How a shell on this machine gets at the servers.
    pub(crate) shell: Shell,
    /// What went wrong on the way to them, told by whoever carries the bytes.
    pub(crate) complaints: Notes,
    /// What was sent and answered, without secrets.
    pub(crate) exchanges: Notes,
}

/// An admin listener.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The product's name.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) url: Url,
    /// Trusts the bundle.
    pub(crate) plain: Caller,
    /// Shows a certificate as well, if there is one.
    pub(crate) operator: Option<Caller>,
}

/// Files of a run.
pub(crate) enum Files {
    /// The folder of servers in this process.
    Folder(PathBuf),
    /// The file with users and clients that was given.
    Credentials(PathBuf),
    /// The object of a cluster that holds users and clients.
    #[cfg(feature = "kubernetes")]
    Secret(String),
}

/// What commands for a shell need.
#[derive(Default)]
pub(crate) struct Shell {
    /// Commands that write the files which the others read.
    pub(crate) once: Vec<String>,
    /// Commands that must run meanwhile, each in a terminal of its own.
    pub(crate) first: Vec<String>,
    /// Further arguments of curl, each with a space before it.
    pub(crate) curl: String,
}

/// What was said by others than the steps; the newest of it.
#[derive(Clone)]
pub(crate) struct Notes {
    kept: Arc<Mutex<VecDeque<String>>>,
    most: usize,
}

impl Notes {
    /// What goes wrong on the way to the servers.
    pub(crate) fn complaints() -> Self {
        Self { kept: Arc::default(), most: 8 }
    }

    /// What is sent and answered: more than any step does.
    pub(crate) fn exchanges() -> Self {
        Self { kept: Arc::default(), most: 256 }
    }

    /// Keeps a note; the oldest one goes when there are too many.
    pub(crate) fn say(&self, note: String) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == self.most {
            kept.pop_front();
        }
        kept.push_back(note);
    }

    /// What was said since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}
