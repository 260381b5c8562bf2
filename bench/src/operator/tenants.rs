//! Tenants with keys and clients: from the first of them to the last that is ready.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crds::{ConditionStatus, READY, Tenant};
use futures_util::StreamExt;
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::{Value, json};

use super::STAND_IN;
use super::cluster::Cluster;
use super::realm::{Figures, World};
use crate::report::{Measured, Target};

/// The longest that is waited.
const LIMIT: Duration = Duration::from_mins(4);

/// How Tenants got ready.
pub(crate) struct Cold {
    pub(crate) seconds: f64,
    created: f64,
    cpu: f64,
    did: Figures,
    count: f64,
}

impl Cold {
    /// As figures; only where there is a target.
    pub(crate) fn measured(&self, count: usize) -> Option<Measured> {
        let (name, most) = match count {
            200 => ("200 Tenants, cold to ready", 15.0),
            1000 => ("1,000 Tenants, cold to ready", 60.0),
            _ => return None,
        };
        let Self { seconds, created, cpu, did, count } = *self;
        let Figures { writes, reads, passes } = did;
        let detail = format!(
            "made within {created:.1} s; the operator: {cpu:.1} s of processor time, a Tenant {:.2} writes and {:.2} reads \
             of the API and {:.2} passes; each with two keys and a client; {STAND_IN}",
            writes / count,
            reads / count,
            passes / count,
        );
        Some(Measured { name, value: seconds, unit: "s", target: Target::AtMost(most), detail })
    }
}

/// A Tenant with two keys and a client.
fn tenant(index: usize) -> Value {
    json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": format!("tenant-{index}")},
        "spec": {
            "realmRef": {"name": "main"},
            "keys": [{"name": "seal", "algorithm": "A256GCM/dir"}, {"name": "sign", "algorithm": "ES256"}],
            "clients": [{"name": "app", "type": "confidential", "grants": ["client_credentials"],
                "scopes": ["kms:encrypt", "kms:decrypt", "kms:sign"]}],
        },
    })
}

/// Makes them and waits for the last.
pub(crate) async fn cold(cluster: &Cluster, world: &World, count: usize) -> Result<Cold> {
    let api = cluster.api::<Tenant>(&world.namespace);
    let (before, cpu) = (world.writes().await?, world.operator()?.cpu()?);
    let began = Instant::now();
    let make = async {
        cluster.create::<Tenant>(&world.namespace, (0..count).map(tenant)).await?;
        Ok::<_, anyhow::Error>(began.elapsed().as_secs_f64())
    };
    let ready = async {
        let mut ready = HashSet::new();
        // One that lags is ended by the server, and is opened again.
        let mut events = watcher(api, Config::default()).default_backoff().boxed();
        while ready.len() < count {
            let left = LIMIT.saturating_sub(began.elapsed());
            let Ok(event) = tokio::time::timeout(left, events.next()).await else {
                bail!("{} of {count} Tenants are ready after {LIMIT:?}; {}", ready.len(), world.log());
            };
            if let Ok(Event::Apply(tenant) | Event::InitApply(tenant)) = event.context("the watch ended")? {
                let name = tenant.name_any();
                if is_ready(&tenant) {
                    ready.insert(name);
                } else {
                    ready.remove(&name);
                }
            }
        }
        Ok(began.elapsed().as_secs_f64())
    };
    let (created, seconds) = tokio::try_join!(make, ready)?;
    let (after, cpu) = (world.writes().await?, world.operator()?.cpu()? - cpu);
    let did = Figures {
        writes: after.writes - before.writes,
        reads: after.reads - before.reads,
        passes: after.passes - before.passes,
    };
    let count = f64::from(u32::try_from(count)?);
    Ok(Cold { seconds, created, cpu, did, count })
}

fn is_ready(tenant: &Tenant) -> bool {
    let mut conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|one| one.kind == READY && one.status == ConditionStatus::True)
}
