//! What a pass over a Tenant at rest costs, queue and metrics included.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use keyrealm_http::Tasks;
use operator::wake::OwnerKind;
use serde::{Deserialize, Serialize};

use super::figure;
use super::realm::World;
use crate::process;
use crate::report::{Measured, Target};
use crate::world::binary;

/// How often every Tenant is looked at.
const ROUNDS: usize = 20;

#[derive(Serialize, Deserialize)]
struct Rest {
    tenants: usize,
    passes: f64,
    seconds: f64,
    cpu: f64,
    /// Calls of the API server: there should be none.
    calls: Vec<String>,
}

/// Has a process of its own do it.
pub(crate) fn measure(world: &World) -> Result<Measured> {
    let output = Command::new(binary("bench")?).arg("rest").arg(&world.settings).output()?;
    if !output.status.success() {
        bail!("Tenants at rest: {}", String::from_utf8_lossy(&output.stderr));
    }
    let rest: Rest = serde_json::from_slice(&output.stdout).context("what the process said")?;
    let detail = format!(
        "{} passes over {} Tenants within {:.2} s, {} calls of the API {}",
        rest.passes,
        rest.tenants,
        rest.seconds,
        rest.calls.len(),
        summary(&rest.calls)
    );
    Ok(figure(
        "pass over a Tenant at rest, processor",
        rest.cpu / rest.passes * 1e6,
        "us",
        Target::AtMost(200.0),
        detail,
    ))
}

/// Which calls, and how often.
fn summary(calls: &[String]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for call in calls {
        *counts.entry(call.trim_end()).or_default() += 1;
    }
    counts.iter().map(|(call, count)| format!("({count} {call})")).collect::<Vec<_>>().join(" ")
}

/// The process that does it; what it says is for [`measure`].
#[allow(clippy::print_stdout, reason = "for the process that started it")]
pub(crate) async fn run(config: &Path) -> Result<()> {
    let (mut tasks, mut controllers) = (Tasks::default(), Tasks::default());
    let parts = super::parts(config, &mut tasks).await?;
    let context = Arc::clone(&parts.context);
    tasks.spawn("databases", operator::controller::follow_databases(Arc::clone(&context)));
    operator::controller::start(&mut controllers, &context);
    let passes = || -> f64 {
        let text = context.metrics.render();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("keyrealm_operator_reconcile_total") && line.contains("\"Tenant\""));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    // Everything was looked at once, and nothing is under way.
    let tenants = context.stores.tenants().state().len();
    let mut before = (passes(), Instant::now());
    while before.1.elapsed() < Duration::from_secs(3) || before.0 < f64::from(u32::try_from(tenants)?) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = passes();
        if now > before.0 {
            before = (now, Instant::now());
        }
        if before.1.elapsed() > Duration::from_mins(1) {
            bail!("{} passes over {tenants} Tenants, and no more", before.0);
        }
    }
    parts.journal.take();
    let (first, cpu, began) = (passes(), process::cpu("self")?, Instant::now());
    for _ in 0..ROUNDS {
        let round = passes() + f64::from(u32::try_from(tenants)?);
        context.stores.wake_all(OwnerKind::Tenant);
        while passes() < round {
            if began.elapsed() > Duration::from_mins(2) {
                bail!("the Tenants are not looked at");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let (passes, cpu, seconds) = (passes() - first, process::cpu("self")? - cpu, began.elapsed().as_secs_f64());
    let calls = parts.journal.take();
    let calls = calls.iter().filter(|call| call.verb != "watch");
    let calls = calls.map(|call| format!("{} {} {}", call.verb, call.resource, call.subresource)).collect();
    println!("{}", serde_json::to_string(&Rest { tenants, passes, seconds, cpu, calls })?);
    Ok(())
}
