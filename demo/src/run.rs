//! A run: start, every step, the card, stop.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use keyrealm_tls::write_private;

use crate::card;
use crate::cli::{Cli, OnPartial, Output};
use crate::embedded::Embedded;
use crate::endpoints::Endpoints;
use crate::outcome::{Outcome, StepFailure};
use crate::report::Reporter;
use crate::servers::Servers;
use crate::steps::{STEPS, Step, World};

/// The longest that a run may take.
const LIMIT: Duration = Duration::from_mins(5);

/// Runs the demo; the answer is the exit code.
pub async fn main_with(cli: &Cli) -> u8 {
    let began = Instant::now();
    let mut reporter = Reporter::new(cli, STEPS.len());
    reporter.starting(cli.target);
    let servers = match Servers::start(cli).await {
        Ok(servers) => servers,
        Err(error) => {
            let failure = StepFailure {
                step: "start".to_owned(),
                phase: "start".to_owned(),
                message: error.to_string(),
                cause: error.chain().skip(1).map(ToString::to_string).collect(),
            };
            reporter.note(&format!("demo: cannot start: {error:#}"));
            let outcome = Outcome::new(STEPS.len(), 0, vec![failure], began.elapsed());
            reporter.finished(&outcome, None);
            return outcome.exit_code();
        }
    };
    let mut world = World::new(servers.endpoints(), Duration::from_secs(cli.health_timeout));
    let outcome = steps(cli, &mut reporter, &mut world, began).await;
    drop(world);
    finish(cli, &mut reporter, servers, &outcome).await;
    outcome.exit_code()
}

async fn steps(cli: &Cli, reporter: &mut Reporter, world: &mut World<'_>, began: Instant) -> Outcome {
    let (mut passed, mut failures) = (0, Vec::new());
    for (at, step) in STEPS.iter().enumerate() {
        if began.elapsed() > LIMIT || (cli.fail_fast && !failures.is_empty()) {
            break;
        }
        reporter.begin(at + 1, step);
        let start = Instant::now();
        match attempt(cli, reporter, world, step).await {
            Ok(facts) => {
                passed += 1;
                // It got there in the end; a later step must not be blamed on it.
                for complaint in world.at.complaints.take() {
                    reporter.detail(&complaint);
                }
                reporter.passed(at + 1, step, &facts, start.elapsed());
            }
            Err(error) => {
                let mut failure = StepFailure {
                    step: step.id.to_owned(),
                    phase: step.phase.to_owned(),
                    message: error.to_string(),
                    cause: error.chain().skip(1).map(ToString::to_string).collect(),
                };
                failure.cause.extend(world.at.complaints.take());
                reporter.failed(at + 1, step, &failure, start.elapsed());
                failures.push(failure);
            }
        }
    }
    Outcome::new(STEPS.len(), passed, failures, began.elapsed())
}

async fn attempt(cli: &Cli, reporter: &Reporter, world: &mut World<'_>, step: &Step) -> anyhow::Result<Vec<String>> {
    let tries = if step.repeatable { cli.retry + 1 } else { 1 };
    let mut attempt = 1;
    loop {
        let result = (step.run)(world).await;
        for exchange in world.take_exchanges() {
            reporter.detail(&exchange);
        }
        match result {
            Err(error) if attempt < tries => {
                reporter.detail(&format!("try {attempt} of {tries}: {error:#}"));
                tokio::time::sleep(cli.wait(attempt)).await;
                attempt += 1;
            }
            other => return other,
        }
    }
}

async fn finish(cli: &Cli, reporter: &mut Reporter, servers: Servers, outcome: &Outcome) {
    match servers {
        Servers::Embedded(embedded) => finish_embedded(cli, reporter, *embedded, outcome).await,
        Servers::Urls(endpoints) => finish_attached(reporter, &endpoints, outcome),
        #[cfg(feature = "kubernetes")]
        Servers::Kubernetes(cluster) => finish_attached(reporter, &cluster.endpoints, outcome),
    }
}

fn finish_attached(reporter: &mut Reporter, endpoints: &Endpoints, outcome: &Outcome) {
    reporter.finished(outcome, Some((&card::text(endpoints), card::json(endpoints))));
    reporter.note("The servers run on; the keys that this run made stay in the first tenant.");
}

async fn finish_embedded(cli: &Cli, reporter: &mut Reporter, embedded: Embedded, outcome: &Outcome) {
    let stays = cli.keep
        || (cli.output() == Output::Human && std::io::stdout().is_terminal() && std::io::stdin().is_terminal());
    let text = card::text(&embedded.endpoints);
    if let Err(error) = write_private(&embedded.folder.join("card.txt"), text.as_bytes()) {
        reporter.note(&format!("demo: cannot write the card: {error}"));
    }
    reporter.finished(outcome, Some((&text, card::json(&embedded.endpoints))));
    if stays {
        reporter.note("The servers run until Ctrl-C.");
        let _ = tokio::signal::ctrl_c().await;
    } else if embedded.is_temporary() {
        reporter
            .note("The servers are stopped and their files gone. With --keep they run on and the commands above work.");
    } else {
        reporter.note("The servers are stopped; the data stays. With --keep they run on and the commands above work.");
    }
    let cleanup = !outcome.success && cli.on_partial == OnPartial::Cleanup;
    let folder = embedded.folder.clone();
    let temporary = embedded.is_temporary();
    embedded.stop().await;
    if cleanup
        && !temporary
        && let Err(error) = std::fs::remove_dir_all(&folder)
    {
        reporter.note(&format!("demo: cannot remove {}: {error}", folder.display()));
    }
}
