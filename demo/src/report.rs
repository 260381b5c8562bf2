//! Reporting: text for people on standard output with progress on standard error, or JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use console::{Style, style};
use indicatif::{ProgressBar, ProgressStyle};
use keyrealm_base::{Clock, Random, SystemClock};
use keyrealm_crypto::SystemRandom;
use serde_json::{Value, json};

use crate::cli::{Cli, Output};
use crate::outcome::{Outcome, StepFailure};
use crate::steps::Step;
use crate::target::Target;

const FRAME: Duration = Duration::from_millis(100);
/// Where a CI says what it is.
const CI: [&str; 5] = ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TRAVIS"];

/// Says what happens.
pub(crate) struct Reporter {
    output: Output,
    quiet: bool,
    verbose: bool,
    color: bool,
    spins: bool,
    total: usize,
    /// One run is one trace.
    trace_id: String,
    spinner: Option<ProgressBar>,
}

/// What stands before a line.
#[derive(Clone, Copy)]
enum Mark {
    Info,
    Ok,
    Fail,
    Skip,
    Success,
    Partial,
    Failure,
}

impl Mark {
    /// The words of the documented text without colours.
    const fn word(self) -> &'static str {
        match self {
            Self::Info => "[INFO]",
            Self::Ok => "[OK]",
            Self::Fail => "[FAIL]",
            Self::Skip => "[SKIP]",
            Self::Success => "[SUCCESS]",
            Self::Partial => "[PARTIAL]",
            Self::Failure => "[FAILURE]",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Info => Style::new().cyan(),
            Self::Ok => Style::new().green(),
            Self::Success => Style::new().green().bold(),
            Self::Skip => Style::new().yellow(),
            Self::Partial => Style::new().yellow().bold(),
            Self::Fail | Self::Failure => Style::new().red().bold(),
        }
    }

    fn of(outcome: &Outcome) -> Self {
        match outcome.exit_code() {
            0 => Self::Success,
            1 => Self::Partial,
            _ => Self::Failure,
        }
    }
}

impl Reporter {
    pub(crate) fn new(cli: &Cli, total: usize) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let ci = CI.into_iter().any(set);
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let random: &dyn Random = &SystemRandom;
        Self {
            output: cli.output(),
            quiet: cli.quiet,
            verbose: cli.verbose,
            color: !cli.no_color && !ci && !set("NO_COLOR") && !dumb && std::io::stdout().is_terminal(),
            spins: !cli.quiet && !ci && !dumb && std::io::stderr().is_terminal(),
            total,
            trace_id: format!("{:032x}", u128::from_be_bytes(random.bytes::<16>())),
            spinner: None,
        }
    }

    fn line(&self, text: &str) {
        // A closed pipe is the reader's choice.
        let _ = writeln!(anstream::stdout(), "{text}");
    }

    /// A line of the structured output: what OpenTelemetry's log records hold.
    fn event(&self, severity: &str, body: &str, attributes: Value) {
        if self.output == Output::Structured {
            let time = SystemClock.now().to_string();
            let event = json!({"timestamp": time, "severity": severity, "body": body, "trace_id": self.trace_id,
                "attributes": attributes});
            self.line(&event.to_string());
        }
    }

    pub(crate) fn version(&self) {
        let version = env!("CARGO_PKG_VERSION");
        match self.output {
            Output::Human => self.line(&format!("demo {version}")),
            Output::Json => self.line(&json!({"name": "demo", "version": version}).to_string()),
            Output::Structured => self.event("INFO", "version", json!({"name": "demo", "version": version})),
        }
    }

    pub(crate) fn starting(&mut self, target: Target) {
        let (place, begin) = match target {
            Target::Embedded => ("on this machine", "starting the servers"),
            Target::Urls => ("that run already", "looking for the servers"),
            Target::Kubernetes => ("in a Kubernetes cluster", "looking for the servers"),
        };
        if self.output == Output::Human && !self.quiet {
            let title = self.bold(&format!("Keyrealm demo: Identity and KMS {place}"));
            self.line(&format!("{}{title}", self.mark(Mark::Info)));
        }
        self.event("INFO", "starting", json!({"total": self.total}));
        self.spin(begin);
    }

    /// Shows what is being done, where somebody looks at it.
    fn spin(&mut self, text: &str) {
        if !self.spins {
            return;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(look) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(look);
        }
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(FRAME);
        bar.tick();
        self.spinner = Some(bar);
    }

    fn still(&mut self) {
        if let Some(bar) = self.spinner.take() {
            bar.finish_and_clear();
        }
    }

    pub(crate) fn begin(&mut self, n: usize, step: &Step) {
        self.still();
        self.spin(&format!("[{n}/{}] {}", self.total, step.title));
    }

    pub(crate) fn passed(&mut self, n: usize, step: &Step, facts: &[String], took: Duration) {
        self.still();
        if self.output == Output::Human && !self.quiet {
            self.step(Mark::Ok, n, step.title);
            for fact in facts {
                self.under(&self.dim(fact));
            }
        }
        let attributes = json!({"step": step.id, "phase": step.phase, "n": n, "of": self.total, "status": "passed",
            "ms": millis(took), "facts": facts});
        self.event("INFO", step.title, attributes);
    }

    pub(crate) fn failed(&mut self, n: usize, step: &Step, failure: &StepFailure, took: Duration) {
        self.still();
        if self.output == Output::Human {
            self.step(Mark::Fail, n, step.title);
            self.under(&failure.message);
            for cause in failure.causes() {
                self.under(&format!("because: {cause}"));
            }
            for detail in &failure.details {
                self.under(&self.dim(&format!("seen: {detail}")));
            }
        }
        let attributes = json!({"step": step.id, "phase": step.phase, "n": n, "of": self.total, "status": "failed",
            "ms": millis(took), "error": failure});
        self.event("ERROR", step.title, attributes);
    }

    pub(crate) fn skipped(&mut self, n: usize, step: &Step, why: &str) {
        self.still();
        if self.output == Output::Human && !self.quiet {
            self.step(Mark::Skip, n, &format!("{} ({why})", step.title));
        }
        let attributes = json!({"step": step.id, "phase": step.phase, "n": n, "of": self.total, "status": "skipped",
            "reason": why});
        self.event("WARN", step.title, attributes);
    }

    fn step(&self, mark: Mark, n: usize, title: &str) {
        let counter = format!("[{n:>2}/{}]", self.total);
        self.line(&format!("{}{} {title}", self.mark(mark), self.dim(&counter)));
    }

    fn under(&self, text: &str) {
        self.line(&format!("             {text}"));
    }

    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            self.complain(&format!("    {text}"));
        }
    }

    pub(crate) fn finished(&mut self, outcome: &Outcome, card: Option<(&str, Value)>) {
        self.still();
        let verdict = Mark::of(outcome);
        match self.output {
            Output::Human => {
                let seconds = Duration::from_millis(outcome.duration_ms).as_secs_f64();
                let counts = format!(
                    "{} of {} steps passed, {} failed, {} skipped, in {seconds:.2} s",
                    outcome.passed_steps, outcome.total_steps, outcome.failed_steps, outcome.skipped_steps
                );
                self.line(&format!("\n{}{}", self.mark(verdict), self.bold(&counts)));
                if let Some((text, _)) = card.filter(|_| !self.quiet) {
                    self.line(&format!("\n{text}"));
                }
            }
            Output::Json => {
                let mut document = serde_json::to_value(outcome).unwrap_or_default();
                if let (Some(document), Some((_, card))) = (document.as_object_mut(), card) {
                    document.insert("card".to_owned(), card);
                }
                self.line(&serde_json::to_string_pretty(&document).unwrap_or_default());
            }
            Output::Structured => {
                let attributes = json!({"outcome": outcome, "card": card.map(|(_, card)| card)});
                let severity = if outcome.success { "INFO" } else { "ERROR" };
                self.event(severity, verdict.word().trim_matches(['[', ']']), attributes);
            }
        }
    }

    /// Something that is good to know.
    pub(crate) fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.output == Output::Human {
            self.line(&format!("{}{text}", self.mark(Mark::Info)));
        } else {
            self.complain(text);
        }
    }

    /// Something that must be seen, whatever standard output is used for.
    pub(crate) fn complain(&self, text: &str) {
        let write = || {
            let _ = writeln!(anstream::stderr(), "{text}");
        };
        match &self.spinner {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// The mark with the space behind it, as wide as that of any other step.
    fn mark(&self, mark: Mark) -> String {
        let word = mark.word();
        if self.color {
            let word = word.trim_matches(['[', ']']);
            return format!("{} ", mark.style().force_styling(true).apply_to(format!("{word:<4}")));
        }
        format!("{word:<6} ")
    }

    fn bold(&self, text: &str) -> String {
        if self.color { style(text).bold().force_styling(true).to_string() } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        if self.color { style(text).dim().force_styling(true).to_string() } else { text.to_owned() }
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
