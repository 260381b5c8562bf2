//! Why a call of the API server did not do what it should: each error says the object, the call, the cause and the mend.

use crate::child::ChildRef;
use crate::lease::NotLeading;
use crate::report::Report;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Somebody else's object has the name.
    #[error(
        "{at} is there already and is not this resource's: {owner}; delete or rename it, or give this resource another name"
    )]
    Foreign {
        /// The object.
        at: String,
        /// Whose it is, as far as it says.
        owner: String,
    },
    /// Somebody wrote in between; the next pass sees what.
    #[error("{verb} {at}: it changed meanwhile ({message}); it is looked at again")]
    Conflict {
        /// What was done.
        verb: &'static str,
        /// The object.
        at: String,
        /// The server's words.
        message: String,
    },
    /// The operator has no right to do that.
    #[error("{verb} {at}: forbidden ({message}); give the operator's ServiceAccount this right, as the chart does")]
    Forbidden {
        /// What was done.
        verb: &'static str,
        /// The object.
        at: String,
        /// The server's words.
        message: String,
    },
    /// No connection.
    #[error("{verb} {at}: the API server cannot be reached ({message}); this is tried again")]
    Unreachable {
        /// What was done.
        verb: &'static str,
        /// The object.
        at: String,
        /// The cause.
        message: String,
    },
    /// No answer in time.
    #[error("{verb} {at}: no answer from the API server within {seconds} s; this is tried again")]
    Timeout {
        /// What was done.
        verb: &'static str,
        /// The object.
        at: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The server does not take it.
    #[error("{verb} {at}: the API server answered {code}: {message}")]
    Refused {
        /// What was done.
        verb: &'static str,
        /// The object.
        at: String,
        /// The status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// Another process leads: nothing was sent.
    #[error("{verb} {at}: {NotLeading}")]
    NotLeading {
        /// What was not done.
        verb: &'static str,
        /// The object.
        at: String,
    },
}

impl ApiError {
    pub(crate) fn of(verb: &'static str, at: &dyn std::fmt::Display, error: &kube::Error) -> Self {
        let at = at.to_string();
        match error {
            kube::Error::Api(status) => {
                // What the server says of a Secret could quote it: its own words end after a line's length.
                let message: String = status.message.chars().take(500).collect();
                match status.code {
                    403 => Self::Forbidden { verb, at, message },
                    409 => Self::Conflict { verb, at, message },
                    429 | 502..=504 => Self::Unreachable { verb, at, message },
                    code => Self::Refused { verb, at, code, message },
                }
            }
            kube::Error::Service(inner) if inner.downcast_ref::<NotLeading>().is_some() => {
                Self::NotLeading { verb, at }
            }
            other => Self::Unreachable { verb, at, message: causes(other) },
        }
    }

    /// As a condition: what the owner's status says.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Foreign { .. } => Report::stalled("ForeignObject", self.to_string()),
            Self::Conflict { .. } => Report::reconciling("Conflict", self.to_string()),
            Self::Forbidden { .. } => Report::reconciling("Forbidden", self.to_string()),
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::NotLeading { .. } => {
                Report::reconciling("ApiServerUnreachable", self.to_string())
            }
            Self::Refused { .. } => Report::reconciling("ApiServerRefused", self.to_string()),
        }
    }

    /// One word for metrics and logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Conflict { .. } => "conflict",
            Self::Forbidden { .. } => "forbidden",
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Refused { .. } => "refused",
            Self::NotLeading { .. } => "not_leading",
        }
    }
}

/// An object of another owner, in the words of its metadata.
pub(crate) fn foreign(at: &ChildRef, seen: &crate::child::Seen) -> ApiError {
    let owner = match (&seen.controller, seen.annotations.get(crds::OWNER_UID), seen.labels.get(crds::MANAGED_BY)) {
        (Some(uid), _, _) => format!("its controller has the UID {uid}"),
        (None, Some(uid), _) => format!("it was made for the resource with the UID {uid}"),
        (None, None, Some(manager)) => format!("it is managed by {manager}"),
        (None, None, None) => "it names no owner".to_owned(),
    };
    ApiError::Foreign { at: at.to_string(), owner }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
