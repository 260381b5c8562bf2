//! The operator on a control plane without nodes: a real API server, etcd and controllers, a real PostgreSQL.
//!
//! There are no pods. What stands in for them: for each Realm one KMS and one Identity, the release binaries as processes of
//! this machine, with the settings, logins, unseal keys and certificates that the operator made for the pods (addresses and
//! paths are others).

pub(crate) mod certificates;
mod cluster;
mod realm;
pub(crate) mod rest;
mod tenants;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use keyrealm_base::SystemClock;
use keyrealm_crypto::SystemRandom;
use keyrealm_http::Tasks;
use keyrealm_testkit::PostgresServer;
use operator::config::Settings;
use operator::failpoint::Failpoint;
use operator::run::{Deps, Parts};

use self::cluster::Cluster;
use self::realm::World;
use crate::report::{Measured, Target};
use crate::world::build;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The control plane's kubeconfig.
    #[arg(long, env = "KEYREALM_TEST_KUBECONFIG", value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Only these numbers of Tenants.
    #[arg(long, value_delimiter = ',', default_value = "100,200,1000")]
    tenants: Vec<usize>,
    /// Other people's Secrets that come to the most Tenants.
    #[arg(long, default_value_t = 30_000)]
    foreign: usize,
    /// Only the certificates.
    #[arg(long)]
    certificates: bool,
    /// Goes through it with a debug build, too: the figures say nothing then.
    #[arg(long)]
    trial: bool,
}

/// Said with each figure.
const STAND_IN: &str =
    "for pods stood one kms and one identity, release binaries outside of the cluster; PostgreSQL with fsync off";

/// The operator's parts in this process, their stores filled; the calls are kept.
async fn parts(config: &Path, tasks: &mut Tasks) -> Result<Parts> {
    let settings: Settings = serde_yaml::from_slice(&std::fs::read(config)?)?;
    let deps = Deps {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        failpoint: Failpoint::none(),
        controllers: operator::controller::start,
        record: true,
        told: None,
    };
    let parts = Parts::new(settings, &deps).await?;
    parts.watch(tasks);
    tokio::time::timeout(Duration::from_secs(30), parts.context.stores.wait_until_ready()).await?;
    Ok(parts)
}

/// All of it.
pub(crate) async fn all(options: &Options) -> Result<Vec<Measured>> {
    build(&["kms", "identity", "operator"], options.trial)?;
    let cluster = Cluster::connect(&options.kubeconfig).await?;
    let mut results = certificates::measure(&cluster).await?;
    if options.certificates {
        return Ok(results);
    }
    let server = PostgresServer::start().map_err(anyhow::Error::msg)?;
    let mut times = Vec::new();
    let most = options.tenants.iter().copied().max().context("no number of Tenants")?;
    for count in &options.tenants {
        let mut world = World::start(&cluster, &server).await?;
        if times.is_empty() {
            let idle = world.settled_memory().await?;
            results.push(figure("operator, idle", idle, "MB", Target::AtMost(25.0), String::new()));
        }
        let cold = tenants::cold(&cluster, &world, *count).await?;
        times.push((*count, cold.seconds));
        results.extend(cold.measured(*count));
        if *count == most {
            results.extend(memory(&cluster, &world, options.foreign, *count).await?);
            world.stop_operator();
            results.push(rest::measure(&world)?);
        }
    }
    results.extend(growth(&times));
    cluster.clean().await?;
    Ok(results)
}

async fn memory(cluster: &Cluster, world: &World, foreign: usize, count: usize) -> Result<Vec<Measured>> {
    let before = world.settled_memory().await?;
    let mut results =
        vec![figure("operator, most Tenants", before, "MB", Target::AtMost(80.0), format!("{count} Tenants"))];
    if foreign > 0 {
        let began = std::time::Instant::now();
        cluster.foreign_secrets(foreign).await?;
        let took = began.elapsed().as_secs_f64();
        let after = world.settled_memory().await?;
        let detail =
            format!("{after:.1} MB against {before:.1} MB after {foreign} Secrets of others, made within {took:.0} s");
        results.push(figure("operator, memory by Secrets of others", after / before, "", Target::AtMost(1.05), detail));
    }
    Ok(results)
}

/// How time grows from fewer Tenants to the most.
fn growth(times: &[(usize, f64)]) -> Vec<Measured> {
    let Some((most, longest)) = times.iter().max_by_key(|(count, _)| *count) else { return Vec::new() };
    let fewer = times.iter().filter(|(count, _)| count < most);
    let ratio = |(count, time): &(usize, f64)| {
        let detail = format!("{most} against {count} Tenants: {longest:.1} s against {time:.1} s");
        figure("Tenants, growth of time", longest / time, "", Target::AtMost(12.0), detail)
    };
    fewer.map(ratio).collect()
}

fn figure(name: &'static str, value: f64, unit: &'static str, target: Target, detail: String) -> Measured {
    Measured { name, value, unit, target, detail }
}
