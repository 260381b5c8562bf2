//! The Lease: whether it is there, who holds it, and whether he is heard of. It is read and never written.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use kube::{Client, ResourceExt};
use tokio::time::{Instant, sleep, timeout};

use super::{CALL, Finding};
use crate::config::Settings;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// What was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Absent,
    Free,
    Held {
        holder: String,
        /// As the holder wrote it, by its own clock: for people.
        renewed: String,
        transitions: i32,
        /// Whether it was written while we looked.
        fresh: bool,
    },
}

/// Looks at the Lease for as long as a leader takes to renew it twice. Clocks are not compared: who renews it writes it.
pub(super) async fn look(client: &Client, settings: &Settings, namespace: &str) -> Finding {
    let name = &settings.lease.name;
    if !settings.lease.enabled {
        return Finding::good("Lease: none is needed (lease.enabled is false)");
    }
    let what = format!("Lease {namespace}/{name}");
    let patience = Duration::from_secs(u64::from(settings.lease.retry_seconds) * 2 + 1);
    let api = Api::<Lease>::namespaced(client.clone(), namespace);
    match watch(&api, name, patience).await {
        Ok(seen) => Finding::good(sentence(&what, &seen, patience)),
        Err(error) => Finding::bad(
            what,
            format!(
                "cannot be read: {error}; bind the chart's roles to this account, or name the Lease's namespace in lease.namespace"
            ),
        ),
    }
}

async fn watch(api: &Api<Lease>, name: &str, patience: Duration) -> Result<Seen, String> {
    let until = Instant::now() + patience;
    let first = read(api, name).await?;
    let mut seen = of(first.as_ref(), false);
    while matches!(seen, Seen::Held { fresh: false, .. }) && Instant::now() < until {
        sleep(LOOK).await;
        let next = read(api, name).await?;
        let version = |lease: &Option<Lease>| lease.as_ref().and_then(Lease::resource_version);
        let moved = version(&next) != version(&first);
        seen = of(next.as_ref(), moved);
    }
    Ok(seen)
}

async fn read(api: &Api<Lease>, name: &str) -> Result<Option<Lease>, String> {
    match timeout(CALL, api.get_opt(name)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CALL.as_secs())),
    }
}

fn of(lease: Option<&Lease>, fresh: bool) -> Seen {
    let Some(lease) = lease else { return Seen::Absent };
    let spec = lease.spec.clone().unwrap_or_default();
    match spec.holder_identity.filter(|holder| !holder.is_empty()) {
        None => Seen::Free,
        Some(holder) => Seen::Held {
            holder,
            renewed: spec
                .renew_time
                .map_or_else(|| "a time that it does not say".to_owned(), |time| time.0.to_string()),
            transitions: spec.lease_transitions.unwrap_or(0),
            fresh,
        },
    }
}

fn sentence(what: &str, seen: &Seen, patience: Duration) -> String {
    match seen {
        Seen::Absent => format!("{what}: is not there yet; the first operator that runs makes it"),
        Seen::Free => format!("{what}: nobody holds it; the last holder gave it back, and no operator works now"),
        Seen::Held { holder, renewed, transitions, fresh: true } => {
            format!("{what}: held by {holder}, who renews it (last at {renewed}; it changed hands {transitions} times)")
        }
        Seen::Held { holder, renewed, transitions, fresh: false } => format!(
            "{what}: held by {holder}, who did NOT renew it for {} s (last at {renewed} by its own clock; it changed hands \
             {transitions} times): that operator has ended or cannot reach the API server; look at its pod and its log; \
             another operator that runs takes over by itself",
            patience.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(spec: serde_json::Value) -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "keyrealm-operator", "resourceVersion": "7"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn each_state_has_its_sentence() {
        let held = lease(
            json!({"holderIdentity": "pod-1_abc", "renewTime": "2026-01-02T03:04:05.000000Z", "leaseTransitions": 3}),
        );
        for (lease, fresh, words) in [
            (None, false, ["is not there yet", "makes it"].as_slice()),
            (Some(lease(json!({"holderIdentity": ""}))), true, &["nobody holds it"]),
            (Some(lease(json!(null))), true, &["nobody holds it"]),
            (Some(held.clone()), true, &["held by pod-1_abc, who renews it", "2026-01-02T03:04:05", "3 times"]),
            (
                Some(held),
                false,
                &["held by pod-1_abc, who did NOT renew it for 5 s", "2026-01-02T03:04:05", "look at its pod"],
            ),
            (Some(lease(json!({"holderIdentity": "x"}))), false, &["a time that it does not say"]),
        ] {
            let text = sentence("Lease a/b", &of(lease.as_ref(), fresh), Duration::from_secs(5));
            assert!(text.starts_with("Lease a/b: ") && words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
