//! The calls of the election: their own client, no retries, three seconds each.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Decision, Election, Leadership, Record, Timing};

/// The longest that a call may take.
const CALL: Duration = Duration::from_secs(3);

/// Why the election ended. Each of them ends the process.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It was ours.
    #[error("the leadership was lost: {0}")]
    Lost(&'static str),
}

/// One process in the election.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
    timing: Timing,
    leadership: Leadership,
    leads: watch::Sender<bool>,
}

/// What became of a write.
enum Written {
    Done(Box<Lease>),
    /// Somebody else wrote first.
    Conflict,
    /// Refused, or no answer: it may have been done or not.
    Unknown,
}

impl Candidate {
    /// A candidate; `me` is a name that no other process has. The client must not retry.
    #[must_use]
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        me: String,
        timing: Timing,
        leadership: Leadership,
    ) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, name: name.to_owned(), me, timing, leadership, leads: watch::Sender::new(false) }
    }

    /// Becomes true once this process leads.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Takes part until the leadership is lost, or `stop` says so: then the Lease is given back.
    ///
    /// # Errors
    /// When the leadership was lost.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), LeaseError> {
        let mut election = Election::new(self.me.clone(), self.timing);
        let outcome = {
            let mut work = std::pin::pin!(self.take_part(&mut election));
            tokio::select! {
                lost = &mut work => Some(lost),
                () = stop => None,
            }
        };
        self.leadership.end();
        self.leads.send_replace(false);
        match outcome {
            Some(lost) => {
                tracing::error!(lease = %self.name, reason = lost, "the leadership is lost; the process ends");
                Err(LeaseError::Lost(lost))
            }
            None => {
                self.release().await;
                Ok(())
            }
        }
    }

    async fn take_part(&self, election: &mut Election) -> &'static str {
        let (mut complained, mut known) = (false, false);
        loop {
            let now = self.leadership.now().boot;
            match election.decide(now) {
                Decision::Lost(reason) => return reason,
                Decision::Wait(pause) => tokio::time::sleep(pause).await,
                Decision::Create | Decision::Acquire(_) | Decision::Renew(_) => {}
            }
            // After an own write the Lease is known: a write of somebody else's since then is met as a conflict.
            if !known {
                match self.read().await {
                    Ok(record) => {
                        complained = false;
                        election.saw(record, self.leadership.now().boot);
                    }
                    Err(error) => {
                        if !complained {
                            tracing::warn!(lease = %self.name, %error, "the Lease cannot be read");
                        }
                        complained = true;
                        // Not longer than until the end of the own term.
                        let until = election.works_until().unwrap_or(Duration::MAX);
                        let rest = until.saturating_sub(self.leadership.now().boot);
                        tokio::time::sleep(self.timing.retry.min(rest)).await;
                        continue;
                    }
                }
            }
            let sent = self.leadership.now();
            let written = match election.decide(sent.boot) {
                Decision::Lost(reason) => return reason,
                Decision::Wait(_) => continue,
                Decision::Create => self.write(None).await,
                Decision::Acquire(record) | Decision::Renew(record) => self.write(Some(record)).await,
            };
            known = matches!(written, Written::Done(_));
            match written {
                Written::Done(lease) => {
                    election.wrote(record(&lease), sent.boot, self.leadership.now().boot);
                    self.leadership.renewed(sent, self.timing.renew);
                    if !self.leads.send_replace(true) {
                        tracing::info!(lease = %self.name, me = %self.me, "this process leads");
                    }
                    tokio::time::sleep(self.timing.retry).await;
                }
                Written::Conflict => {}
                Written::Unknown => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    async fn read(&self) -> Result<Option<Record>, String> {
        match timeout(CALL, self.api.get_opt(&self.name)).await {
            Ok(Ok(lease)) => Ok(lease.as_ref().map(record)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", CALL.as_secs())),
        }
    }

    async fn write(&self, old: Option<Record>) -> Written {
        let renews = old.as_ref().is_some_and(|old| old.holder == self.me);
        let transitions = old.as_ref().map_or(0, |old| old.transitions.saturating_add(i32::from(!renews)));
        let seconds = i32::try_from(self.timing.duration.as_secs()).unwrap_or(i32::MAX);
        let lease = self.lease(&self.me, seconds, transitions, old.map(|old| old.resource_version));
        self.send(&lease).await
    }

    async fn send(&self, lease: &Lease) -> Written {
        let parameters = PostParams::default();
        let call = async {
            if lease.metadata.resource_version.is_some() {
                self.api.replace(&self.name, &parameters, lease).await
            } else {
                self.api.create(&parameters, lease).await
            }
        };
        match timeout(CALL, call).await {
            Ok(Ok(lease)) => Written::Done(Box::new(lease)),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Written::Conflict,
            Ok(Err(error)) => {
                tracing::warn!(lease = %self.name, %error, "the Lease cannot be written");
                Written::Unknown
            }
            Err(_) => {
                tracing::warn!(lease = %self.name, "the Lease cannot be written: no answer within 3 s");
                Written::Unknown
            }
        }
    }

    /// Times are written for people who look, and for other programs; this one reads them never.
    fn lease(&self, holder: &str, seconds: i32, transitions: i32, resource_version: Option<String>) -> Lease {
        let time = jiff::Timestamp::from_millisecond(self.leadership.now().wall.millis()).ok().map(MicroTime);
        Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), resource_version, ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(seconds),
                lease_transitions: Some(transitions),
                acquire_time: time.clone(),
                renew_time: time,
                ..LeaseSpec::default()
            }),
        }
    }

    /// Gives the Lease back, if it is ours: another process need not wait for its end.
    async fn release(&self) {
        let Ok(Some(record)) = self.read().await else { return };
        if record.holder == self.me {
            let lease = self.lease("", 1, record.transitions, Some(record.resource_version));
            if let Written::Done(_) = self.send(&lease).await {
                tracing::info!(lease = %self.name, "the Lease is given back");
            }
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or(0)),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or(0),
        resource_version: lease.resource_version().unwrap_or_default(),
    }
}
