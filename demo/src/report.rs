//! Reporting: text for people on standard output with progress on standard error, or JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use console::style;
use indicatif::{ProgressBar, ProgressStyle};
use keyrealm_base::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::cli::{Cli, Output};
use crate::outcome::{Outcome, StepFailure};
use crate::steps::Step;
use crate::target::Target;

const FRAME: Duration = Duration::from_millis(100);

/// Says what happens.
pub(crate) struct Reporter {
    output: Output,
    quiet: bool,
    verbose: bool,
    color: bool,
    total: usize,
    spinner: Option<ProgressBar>,
}

impl Reporter {
    pub(crate) fn new(cli: &Cli, total: usize) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let quiet_terminal =
            ["NO_COLOR", "CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TRAVIS"].into_iter().any(set);
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let color = !cli.no_color && !quiet_terminal && !dumb && std::io::stdout().is_terminal();
        Self { output: cli.output(), quiet: cli.quiet, verbose: cli.verbose, color, total, spinner: None }
    }

    fn line(&self, text: &str) {
        // A closed pipe is the reader's choice.
        let _ = writeln!(anstream::stdout(), "{text}");
    }

    fn event(&self, severity: &str, body: &str, attributes: Value) {
        if self.output == Output::Structured {
            let time = SystemClock.now().to_string();
            self.line(
                &json!({"timestamp": time, "severity": severity, "body": body, "attributes": attributes}).to_string(),
            );
        }
    }

    pub(crate) fn starting(&mut self, target: Target) {
        let (place, begin) = match target {
            Target::Embedded => ("on this machine", "starting the servers"),
            Target::Urls => ("that run already", "looking for the servers"),
            Target::Kubernetes => ("in a Kubernetes cluster", "looking for the servers"),
        };
        if self.output == Output::Human && !self.quiet {
            self.line(&self.bold(&format!("Keyrealm demo: Identity and KMS {place}")));
        }
        self.event("INFO", "starting", json!({"total": self.total}));
        self.spin(begin);
    }

    fn spin(&mut self, text: &str) {
        let bar = ProgressBar::new_spinner();
        if let Ok(look) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(look);
        }
        bar.set_message(text.to_owned());
        // Hidden by itself where standard error is no terminal.
        bar.enable_steady_tick(FRAME);
        self.spinner = Some(bar);
    }

    fn still(&mut self) {
        if let Some(bar) = self.spinner.take() {
            bar.finish_and_clear();
        }
    }

    pub(crate) fn begin(&mut self, n: usize, step: &Step) {
        self.still();
        let text = format!("[{n}/{}] {}", self.total, step.title);
        self.spin(&text);
        if !std::io::stderr().is_terminal() && self.output != Output::Human && !self.quiet {
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    pub(crate) fn passed(&mut self, n: usize, step: &Step, facts: &[String], took: Duration) {
        self.still();
        let ms = millis(took);
        if self.output == Output::Human && !self.quiet {
            let counter = format!("[{n:>2}/{}]", self.total);
            self.line(&format!("{} {} {}", self.mark(true), self.dim(&counter), step.title));
            for fact in facts {
                self.line(&format!("             {}", self.dim(fact)));
            }
        }
        let attributes = json!({"step": step.id, "phase": step.phase, "n": n, "of": self.total, "status": "passed", "ms": ms, "facts": facts});
        self.event("INFO", step.title, attributes);
    }

    pub(crate) fn failed(&mut self, n: usize, step: &Step, failure: &StepFailure, took: Duration) {
        self.still();
        if self.output == Output::Human {
            let counter = format!("[{n:>2}/{}]", self.total);
            self.line(&format!("{} {} {}", self.mark(false), self.dim(&counter), step.title));
            self.line(&format!("             {}", failure.message));
            for cause in &failure.cause {
                self.line(&format!("             because: {cause}"));
            }
        }
        let attributes = json!({"step": step.id, "phase": step.phase, "n": n, "of": self.total, "status": "failed", "ms": millis(took), "error": failure});
        self.event("ERROR", step.title, attributes);
    }

    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            let _ = writeln!(anstream::stderr(), "    {text}");
        }
    }

    pub(crate) fn finished(&mut self, outcome: &Outcome, card: Option<(&str, Value)>) {
        self.still();
        let verdict = match outcome.exit_code() {
            0 => "SUCCESS",
            1 => "PARTIAL",
            _ => "FAILURE",
        };
        match self.output {
            Output::Human => {
                let seconds = Duration::from_millis(outcome.duration_ms).as_secs_f64();
                let counts = format!(
                    "{verdict}: {} of {} steps passed, {} failed, {} skipped, in {seconds:.2} s",
                    outcome.passed_steps, outcome.total_steps, outcome.failed_steps, outcome.skipped_steps
                );
                self.line(&format!("\n{}", self.bold(&counts)));
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
                self.event(if outcome.success { "INFO" } else { "ERROR" }, verdict, attributes);
            }
        }
    }

    pub(crate) fn note(&self, text: &str) {
        if self.output == Output::Human {
            self.line(text);
        } else {
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    fn mark(&self, good: bool) -> String {
        match (self.color, good) {
            (true, true) => style("ok  ").green().force_styling(true).to_string(),
            (true, false) => style("FAIL").red().bold().force_styling(true).to_string(),
            (false, true) => "[OK]  ".to_owned(),
            (false, false) => "[FAIL]".to_owned(),
        }
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
