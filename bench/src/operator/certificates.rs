//! Certificates of many Realms under a few CAs: the Realm controller's plan, and what carries it out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use crds::Realm;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use keyrealm_base::{DeploymentId, SystemClock};
use keyrealm_crypto::{SystemRandom, sha256_hex};
use keyrealm_http::Tasks;
use keyrealm_pki::{CaChain, CertificateInfo, ChainSpec, NameStyle, certificates};
use kube::ResourceExt;
use kube::api::ListParams;
use operator::children::Home;
use operator::children::config_map::Connection;
use operator::children::secret::root_ca;
use operator::config::Settings;
use operator::realm::facts::{DatabaseFacts, DatabaseState, Kept, Observed, RootFacts, UsedFacts};
use operator::realm::plan::{self, Step};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cluster::Cluster;
use super::figure;
use crate::load::median;
use crate::process;
use crate::report::{Measured, Target};
use crate::world::binary;

const CAS: usize = 10;
/// Two certificates each.
const REALMS_OF_A_CA: usize = 25;
/// As many passes as a controller has under way.
const PASSES: usize = 16;
const ROUNDS: usize = 3;

#[derive(Serialize, Deserialize)]
struct Round {
    issued: usize,
    seconds: f64,
    writes: usize,
    reads: usize,
    cpu: f64,
}

/// Has a process of its own do it, in a new namespace each time.
pub(crate) async fn measure(cluster: &Cluster) -> Result<Vec<Measured>> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let namespace = cluster.namespace().await?;
        let folder = tempfile::tempdir()?;
        let mut settings = Settings { kubeconfig: Some(cluster.kubeconfig.clone()), ..Settings::default() };
        settings.watch.namespaces = vec![namespace.clone()];
        settings.lease.enabled = false;
        let config = folder.path().join("operator.yml");
        std::fs::write(&config, serde_yaml::to_string(&settings)?)?;
        prepare(cluster, &namespace).await?;
        let output = Command::new(binary("bench")?).arg("certificates").arg(&config).output()?;
        if !output.status.success() {
            bail!("the certificates: {}", String::from_utf8_lossy(&output.stderr));
        }
        let round: Round = serde_json::from_slice(&output.stdout).context("what the certificates' process said")?;
        let leaves = ListParams::default().fields("type=kubernetes.io/tls");
        let there = cluster.api::<Secret>(&namespace).list(&leaves).await?.items.len();
        if round.issued != CAS * REALMS_OF_A_CA * 2 || there != round.issued {
            bail!("{} certificates were issued, and {there} are there", round.issued);
        }
        rounds.push(round);
    }
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let number = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from);
    let (first, all) = (rounds.first().context("no round")?, of(|round| round.seconds));
    let detail = format!(
        "{} of {CAS} CAs for {} Realms, median of {ROUNDS}; one read of the CA's Secret each ({} in all); no pods",
        first.issued,
        CAS * REALMS_OF_A_CA,
        first.reads
    );
    let each = number(first.writes) / number(first.issued);
    Ok(vec![
        figure("500 certificates as Secrets", all, "s", Target::AtMost(2.5), detail),
        figure("API writes a certificate", each, "", Target::AtMost(1.1), format!("{} writes", first.writes)),
        figure("500 certificates, processor", of(|round| round.cpu), "s", Target::AtMost(2.0), String::new()),
    ])
}

/// CAs and Realms. No operator works on the Realms otherwise.
async fn prepare(cluster: &Cluster, namespace: &str) -> Result<()> {
    let mut cas = Vec::new();
    for index in 0..CAS {
        let spec = ChainSpec::new(NameStyle::Descriptive { name: format!("Benchmark {index}") });
        let chain = CaChain::generate(&spec, &SystemClock, &SystemRandom)?;
        cas.push(json!({
            "metadata": {"name": format!("ca-{index}")},
            "stringData": {root_ca::CERTIFICATES: chain.certificates_pem(),
                root_ca::ISSUING_KEY: chain.issuing_key_pem().as_str()},
        }));
    }
    cluster.create::<Secret>(namespace, cas.into_iter()).await?;
    let realm = |index: usize| {
        json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Realm", "metadata": {"name": format!("realm-{index}")},
            "spec": {
                "hostnames": {"kms": format!("kms-{index}.example.org"), "identity": format!("id-{index}.example.org")},
                "database": {"external": {"secretRef": {"name": "postgres"}}},
                "tls": {"root": {"secretRef": {"name": format!("ca-{}", index % CAS)}}},
            },
        })
    };
    cluster.create::<Realm>(namespace, (0..CAS * REALMS_OF_A_CA).map(realm)).await.map(drop)
}

/// The process that does it; what it says is for [`measure`].
#[allow(clippy::print_stdout, reason = "for the process that started it")]
pub(crate) async fn run(config: &Path) -> Result<()> {
    let mut tasks = Tasks::default();
    let parts = super::parts(config, &mut tasks).await?;
    let context = &parts.context;
    let realms = context.stores.realms().state();
    let mut roots = HashMap::new();
    for realm in &realms {
        let (namespace, name) = ca_of(realm)?;
        if let Entry::Vacant(new) = roots.entry(name.clone()) {
            let secret = context.read_secret(&namespace, &name).await?.context("a CA is gone")?;
            new.insert(root(&secret)?);
        }
    }
    parts.journal.take();
    let (began, cpu) = (Instant::now(), process::cpu("self")?);
    let pass = async |realm: &Arc<Realm>| -> Result<usize> {
        let home = Home::of(realm).context("a Realm is not stored")?;
        let root = roots.get(&ca_of(realm)?.1).context("a Realm has no CA")?;
        let plan = plan::plan(realm, &observed(root), context.clock.now());
        let mut issued = 0;
        for step in &plan.steps {
            if let Step::IssueLeaf(part, reason) = step {
                operator::realm::issue::leaf(context, &home, *part, reason, root).await?;
                issued += 1;
            }
        }
        Ok(issued)
    };
    let passes = stream::iter(&realms).map(pass).buffer_unordered(PASSES);
    let issued = passes.try_fold(0, async |sum, issued| Ok(sum + issued)).await?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), process::cpu("self")? - cpu);
    let calls = parts.journal.take();
    let count = |verbs: &[&str]| calls.iter().filter(|call| verbs.contains(&call.verb)).count();
    let (writes, reads) = (count(&["create", "patch", "update", "delete"]), count(&["get", "list"]));
    println!("{}", serde_json::to_string(&Round { issued, seconds, writes, reads, cpu })?);
    Ok(())
}

fn ca_of(realm: &Realm) -> Result<(String, String)> {
    let root = realm.spec.tls.root.as_ref().context("a Realm names no CA")?;
    Ok((realm.namespace().unwrap_or_default(), root.secret_ref.name.clone()))
}

fn root(secret: &Secret) -> Result<RootFacts> {
    let data = secret.data.as_ref().and_then(|data| data.get(root_ca::CERTIFICATES)).context("a CA without content")?;
    let key = secret.data.as_ref().and_then(|data| data.get(root_ca::ISSUING_KEY)).context("a CA without key")?;
    let chain = CaChain::from_pem(str::from_utf8(&data.0)?, str::from_utf8(&key.0)?)?;
    let all = certificates(&data.0)?;
    let first = all.first().context("a CA without certificate")?;
    let bundle_pem = chain.trust_bundle_pem();
    Ok(RootFacts {
        sha256: sha256_hex(first),
        not_after: CertificateInfo::parse(first)?.not_after,
        bundle_sha256: sha256_hex(bundle_pem.as_bytes()),
        bundle_pem,
    })
}

/// A Realm whose database stands and whose certificates are missing.
fn observed(root: &RootFacts) -> Observed {
    let connection = Connection {
        host: "postgres.example.org".to_owned(),
        port: 5432,
        database: "keyrealm".to_owned(),
        ca_pem: String::new(),
    };
    let database = DatabaseFacts {
        connection,
        deployment_id: DeploymentId::new(&SystemClock, &SystemRandom),
        logins: [].into(),
        used: UsedFacts::default(),
        prepared: false,
        instances: Vec::new(),
        settled: 0,
        tenants: 0,
        failure: None,
    };
    Observed {
        images: operator::config::Images::default(),
        operator_namespace: String::new(),
        finalizer: true,
        deletion: None,
        conflict: None,
        adopts: false,
        known_before: false,
        managed_exists: false,
        root: Kept::There(root.clone()),
        admin: Kept::Missing,
        unseal: [].into(),
        roles: [].into(),
        leaves: [].into(),
        database: DatabaseState::Ready(Box::new(database)),
        rollouts: [].into(),
        optional: Vec::new(),
    }
}
