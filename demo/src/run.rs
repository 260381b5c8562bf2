//! A run: start, every step, the card, stop.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use keyrealm_tls::write_private;

use crate::card;
use crate::cli::{Cli, Command, OnPartial, Output};
use crate::embedded::Embedded;
use crate::endpoints::Endpoints;
use crate::folder::Folder;
use crate::outcome::{Outcome, StepFailure};
use crate::report::Reporter;
use crate::servers::Servers;
use crate::signals::Signals;
use crate::steps::{Step, World, steps_of};

/// The longest that a run may take.
const LIMIT: Duration = Duration::from_mins(5);
/// Exchanges that are shown with a failure, the last ones.
const SHOWN: usize = 3;

/// Runs the demo; the answer is the exit code.
pub async fn main_with(cli: &Cli) -> u8 {
    let began = Instant::now();
    let steps: Vec<&Step> = steps_of(cli.command).collect();
    let mut reporter = Reporter::new(cli, steps.len());
    if cli.command == Command::Version {
        reporter.version();
        return 0;
    }
    reporter.starting(cli.target);
    let mut folder = None;
    let (mut signals, servers) = match start(cli, &mut folder).await {
        Ok(started) => started,
        Err(error) => {
            if let Some(folder) = folder {
                let clean = cli.on_partial == OnPartial::Cleanup && folder.is_fresh();
                close(&reporter, folder, clean).await;
            }
            let outcome = Outcome::not_started(steps.len(), StepFailure::of_start(&error), began.elapsed());
            reporter.complain(&format!("demo: cannot start: {error:#}"));
            reporter.finished(&outcome, None);
            return outcome.exit_code();
        }
    };
    let mut world = World::new(servers.endpoints(), cli.health_timeout);
    let mut run = Run { cli, reporter: &mut reporter, signals: &mut signals, limit: LIMIT, ended: false };
    let outcome = run.all(&steps, &mut world, began).await;
    let ended = run.ended;
    drop(world);
    finish(cli, &mut reporter, &mut signals, servers, folder.as_ref(), &outcome, ended).await;
    if let Some(folder) = folder {
        close(&reporter, folder, !outcome.success && cli.on_partial == OnPartial::Cleanup).await;
    }
    outcome.exit_code()
}

/// Listens for signals before there is anything that must not stay.
async fn start(cli: &Cli, folder: &mut Option<Folder>) -> Result<(Signals, Servers)> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let servers = tokio::select! {
        servers = Servers::start(cli, folder) => servers?,
        signal = signals.next() => return Err(anyhow!("{signal} came first")),
    };
    Ok((signals, servers))
}

async fn close(reporter: &Reporter, folder: Folder, clean: bool) {
    let path = folder.path().to_owned();
    if !clean {
        folder.close().await;
    } else if let Err(error) = folder.clean().await {
        reporter.complain(&format!("demo: cannot remove the files of {}: {error}", path.display()));
    }
}

/// The steps of a run, one after the other.
pub(crate) struct Run<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) reporter: &'a mut Reporter,
    pub(crate) signals: &'a mut Signals,
    pub(crate) limit: Duration,
    /// Whether a signal said so.
    pub(crate) ended: bool,
}

/// How a step ended.
enum End {
    Passed(Vec<String>),
    Failed(StepFailure),
    /// It was left by a signal.
    Left(&'static str),
}

impl Run<'_> {
    pub(crate) async fn all(&mut self, steps: &[&Step], world: &mut World<'_>, began: Instant) -> Outcome {
        let (mut passed, mut failures) = (0, Vec::new());
        let mut stopped: Option<String> = None;
        for (at, step) in steps.iter().enumerate() {
            let n = at + 1;
            if stopped.is_none() && began.elapsed() >= self.limit {
                stopped = Some(format!("the time limit of {} s", self.limit.as_secs()));
            }
            if let Some(why) = &stopped {
                self.reporter.skipped(n, step, why);
                continue;
            }
            self.reporter.begin(n, step);
            let start = Instant::now();
            match self.one(step, world, began).await {
                End::Passed(facts) => {
                    passed += 1;
                    self.reporter.passed(n, step, &facts, start.elapsed());
                }
                End::Failed(failure) => {
                    self.reporter.failed(n, step, &failure, start.elapsed());
                    failures.push(failure);
                    if self.cli.fail_fast {
                        stopped = Some("--fail-fast".to_owned());
                    }
                }
                End::Left(signal) => {
                    self.ended = true;
                    self.reporter.skipped(n, step, signal);
                    stopped = Some(signal.to_owned());
                }
            }
        }
        Outcome::new(steps.len(), passed, failures, began.elapsed())
    }

    async fn one(&mut self, step: &Step, world: &mut World<'_>, began: Instant) -> End {
        let at = world.at;
        let left = self.limit.saturating_sub(began.elapsed());
        let (result, exchanges) = tokio::select! {
            biased;
            signal = self.signals.next() => return End::Left(signal),
            done = attempt(self.cli, self.reporter, world, step) => done,
            () = tokio::time::sleep(left) => {
                let limit = self.limit.as_secs();
                (Err(anyhow!("it was not done when the time limit of {limit} s came")), at.exchanges.take())
            }
        };
        let mut complaints = at.complaints.take();
        complaints.dedup();
        match result {
            Ok(facts) => {
                // It got there in the end; a later step must not be blamed on it.
                for complaint in complaints {
                    self.reporter.detail(&complaint);
                }
                End::Passed(facts)
            }
            Err(error) => {
                let last = exchanges.len().saturating_sub(SHOWN);
                complaints.extend(exchanges.into_iter().skip(last));
                End::Failed(StepFailure::new(step.id, step.phase, &error, complaints))
            }
        }
    }
}

/// Tries a step as often as it may be; the exchanges are those of the last try.
async fn attempt(
    cli: &Cli,
    reporter: &Reporter,
    world: &mut World<'_>,
    step: &Step,
) -> (Result<Vec<String>>, Vec<String>) {
    let tries = if step.repeatable { cli.retry.saturating_add(1) } else { 1 };
    let mut attempt = 1;
    loop {
        let result = (step.run)(world).await;
        let exchanges = world.at.exchanges.take();
        for exchange in &exchanges {
            reporter.detail(exchange);
        }
        match result {
            Err(error) if attempt < tries => {
                reporter.detail(&format!("try {attempt} of {tries}: {error:#}"));
                tokio::time::sleep(cli.wait(attempt)).await;
                attempt += 1;
            }
            other => return (other, exchanges),
        }
    }
}

async fn finish(
    cli: &Cli,
    reporter: &mut Reporter,
    signals: &mut Signals,
    servers: Servers,
    folder: Option<&Folder>,
    outcome: &Outcome,
    ended: bool,
) {
    match (servers, folder) {
        (Servers::Embedded(embedded), Some(folder)) => {
            finish_embedded(cli, reporter, signals, *embedded, folder, outcome, ended).await;
        }
        // It has a folder always.
        (Servers::Embedded(embedded), None) => embedded.stop().await,
        (Servers::Urls(endpoints), _) => finish_attached(reporter, &endpoints, outcome),
        #[cfg(feature = "kubernetes")]
        (Servers::Kubernetes(cluster), _) => finish_attached(reporter, &cluster.endpoints, outcome),
    }
}

fn finish_attached(reporter: &mut Reporter, endpoints: &Endpoints, outcome: &Outcome) {
    reporter.finished(outcome, Some((&card::text(endpoints), card::json(endpoints))));
    reporter.note("The servers run on; the keys that this run made stay in the first tenant.");
}

async fn finish_embedded(
    cli: &Cli,
    reporter: &mut Reporter,
    signals: &mut Signals,
    embedded: Embedded,
    folder: &Folder,
    outcome: &Outcome,
    ended: bool,
) {
    let terminal = cli.output() == Output::Human && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let text = card::text(&embedded.endpoints);
    if let Err(error) = write_private(&folder.path().join("card.txt"), text.as_bytes()) {
        reporter.complain(&format!("demo: cannot write the card: {error}"));
    }
    reporter.finished(outcome, Some((&text, card::json(&embedded.endpoints))));
    if ended {
        reporter.note("The servers are being stopped.");
    } else if cli.keep || terminal {
        reporter.note("The servers run until Ctrl-C.");
        signals.next().await;
    } else {
        let gone = folder.is_temporary() || (!outcome.success && cli.on_partial == OnPartial::Cleanup);
        let files = if gone { "their files gone" } else { "the data stays" };
        reporter
            .note(&format!("The servers are stopped, {files}. With --keep they run on and the commands above work."));
    }
    // Whoever asks twice does not want to wait for requests that still run.
    tokio::select! {
        () = embedded.stop() => {}
        _ = signals.next() => {}
    }
}
