//! What goes to the API server: every attempt is counted, tests can read what was called, and a process that does not lead
//! cannot write. It lies below kube's client, so that nothing passes it by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crds::client::{BeforeSending, Transport};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request};
use kube::client::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, Service};

use crate::lease::Leadership;
use crate::metrics::Metrics;

/// A call, as RBAC and the API server's audit log name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural; empty when it is no resource.
    pub resource: String,
    /// `status` and the like; empty for none.
    pub subresource: String,
    /// The namespace; empty for cluster-wide calls.
    pub namespace: String,
    /// The field manager of a write.
    pub manager: String,
    /// The answer's status; 0 when there was none.
    pub status: u16,
}

/// Watches what one client sends.
#[derive(Clone)]
pub struct Journal {
    metrics: Metrics,
    gate: Option<Leadership>,
    began: Instant,
    /// Milliseconds after `began` of the last answer that was none of an overloaded or broken server.
    answered: Arc<AtomicU64>,
    record: Option<Arc<Mutex<Vec<Call>>>>,
    told: Option<Told>,
}

/// Is told each call when it has ended.
pub type Told = fn(&Call);

/// The longest until an answer begins. Lists are the slowest.
const ANSWER: Duration = Duration::from_secs(30);
/// The most calls that are kept for tests.
const MAX_RECORD: usize = 100_000;

impl Journal {
    /// Counts; with `gate`, writes pass only while it allows them.
    #[must_use]
    pub fn new(metrics: Metrics, gate: Option<Leadership>) -> Self {
        Self { metrics, gate, began: Instant::now(), answered: Arc::default(), record: None, told: None }
    }

    /// Keeps the calls, too.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.record = Some(Arc::default());
        self
    }

    /// Tells each call, too.
    #[must_use]
    pub const fn telling(mut self, told: Option<Told>) -> Self {
        self.told = told;
        self
    }

    /// The same, for a client whose writes are not those of a leader (the election's own).
    #[must_use]
    pub fn ungated(&self) -> Self {
        Self { gate: None, ..self.clone() }
    }

    /// The calls so far, and forgets them.
    pub fn take(&self) -> Vec<Call> {
        let record = self.record.as_ref().and_then(|record| Some(std::mem::take(&mut *record.lock().ok()?)));
        record.unwrap_or_default()
    }

    /// How long ago the server answered last; from the start on when it never did.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.answered.load(Ordering::Relaxed)))
    }

    /// Puts itself over a connection.
    #[must_use]
    pub fn over(&self, transport: Transport) -> Transport {
        BoxCloneService::new(Watched { inner: transport, journal: self.clone() })
    }

    fn ended(&self, mut call: Call, status: u16) {
        let code = if status == 0 { "error".to_owned() } else { status.to_string() };
        let resource = if call.resource.is_empty() { "other" } else { call.resource.as_str() };
        self.metrics.api_request(call.verb, resource, &code);
        if status != 0 && status < 500 && status != 429 {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.answered.fetch_max(now, Ordering::Relaxed);
        }
        call.status = status;
        if let Some(told) = self.told {
            told(&call);
        }
        if let Some(mut record) = self.record.as_ref().and_then(|record| record.lock().ok())
            && record.len() < MAX_RECORD
        {
            record.push(call);
        }
    }
}

#[derive(Clone)]
struct Watched {
    inner: Transport,
    journal: Journal,
}

impl Service<Request<Body>> for Watched {
    type Response = <Transport as Service<Request<Body>>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let journal = self.journal.clone();
        let writes = request.method() != Method::GET;
        let gate = self.journal.gate.as_ref().filter(|_| writes);
        // What waited above, for a token or for its turn, is asked again here.
        if let Some(Err(error)) = gate.map(Leadership::check) {
            return std::future::ready(Err(error.into())).boxed();
        }
        if let Some(gate) = gate.cloned() {
            let before = BeforeSending(Arc::new(move || gate.check().map_err(Into::into)));
            request.extensions_mut().insert(before);
        }
        let call = call_of(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        let answer = self.inner.call(request);
        async move {
            let answer = match tokio::time::timeout(ANSWER, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs()).into()),
            };
            journal.ended(call, answer.as_ref().map_or(0, |answer| answer.status().as_u16()));
            answer
        }
        .boxed()
    }
}

/// What a request is, from its line alone.
fn call_of(method: &Method, path: &str, query: &str) -> Call {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => ("", &[] as &[&str]),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let (resource, name, subresource) = match rest {
        [] => ("", false, ""),
        [resource] => (*resource, false, ""),
        [resource, _] => (*resource, true, ""),
        [resource, _, subresource, ..] => (*resource, true, *subresource),
    };
    let parameter = |wanted: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
        found.unwrap_or_default()
    };
    let watch = ["true", "1"].contains(&parameter("watch"));
    let verb = match (method.as_str(), name) {
        ("GET", _) if watch => "watch",
        ("GET", true) => "get",
        ("GET", false) if resource.is_empty() => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    };
    Call {
        verb,
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        manager: parameter("fieldManager").to_owned(),
        status: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_rbac_names_them() {
        let call = |method: &str, path: &str, query: &str| {
            let call = call_of(&method.parse().unwrap(), path, query);
            [call.verb, &call.group, &call.resource, &call.subresource, &call.namespace, &call.manager].join(" ")
        };
        assert_eq!(call("GET", "/api/v1/secrets", "watch=true&x=y"), "watch  secrets   ");
        assert_eq!(call("GET", "/api/v1/namespaces/a/secrets", ""), "list  secrets  a ");
        assert_eq!(call("GET", "/api/v1/namespaces/a", ""), "get  namespaces   ");
        assert_eq!(call("POST", "/api/v1/namespaces/a/secrets", "fieldManager=m"), "create  secrets  a m");
        assert_eq!(
            call("PATCH", "/apis/keyrealm.dev/v1alpha1/namespaces/a/realms/r/status", "&fieldManager=m&force=true"),
            "patch keyrealm.dev realms status a m"
        );
        assert_eq!(call("DELETE", "/apis/apps/v1/namespaces/a/deployments/d", ""), "delete apps deployments  a ");
        assert_eq!(call("GET", "/version", ""), "get     ");
    }
}
