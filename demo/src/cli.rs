//! The flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::target::{AttachFlags, Target};

/// Runs Keyrealm on this machine, or takes servers that run already, and shows, step by step, what it does.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to show.
    #[command(subcommand)]
    pub command: Command,
    /// Where the servers are.
    #[arg(long, global = true, value_enum, default_value_t = Target::Embedded)]
    pub target: Target,
    /// Servers that run already.
    #[command(flatten, next_help_heading = "Servers that run already")]
    pub attach: AttachFlags,
    /// How to report.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// The same as `--output json`.
    #[arg(long, global = true)]
    pub json: bool,
    /// No colours (also: NO_COLOR, CI, TERM=dumb, output to a file).
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Each HTTP exchange, secrets masked.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Only failures and the verdict.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Goes on after a step that failed (this is the default).
    #[arg(long, global = true, conflicts_with = "fail_fast")]
    pub continue_on_error: bool,
    /// Stops at the first step that fails.
    #[arg(long, global = true)]
    pub fail_fast: bool,
    /// How long to wait until the servers are ready: `30s`, `500ms`, `2m`, or seconds.
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub health_timeout: Duration,
    /// How often a step that can be repeated is tried again.
    #[arg(long, global = true, value_name = "COUNT", default_value_t = 3)]
    pub retry: u32,
    /// The wait between two tries: `1s`, `500ms`, `2m`, or seconds.
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "1s")]
    pub retry_delay: Duration,
    /// Whether the wait grows.
    #[arg(long, global = true, value_enum, default_value_t = Backoff::Fixed)]
    pub retry_backoff: Backoff,
    /// Keeps the data of a run in which some steps failed, or removes the files that the demo made. Only with
    /// `--data-dir`.
    #[arg(long, global = true, value_enum, default_value_t = OnPartial::Keep)]
    pub on_partial: OnPartial,
    /// Keeps chain, keys, data and passwords in this folder: a new or empty one, or one of an earlier run. Without it
    /// everything is temporary. This and the flags below are for --target embedded.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Deletes the demo's tenants and makes them anew first. Only with `--data-dir`.
    #[arg(long, global = true)]
    pub reset_demo: bool,
    /// Uses the documented passwords instead of random ones. Everybody knows them.
    #[arg(long, global = true)]
    pub demo_password: bool,
    /// Keeps the servers running after the last step until Ctrl-C (on a terminal this is the default).
    #[arg(long, global = true)]
    pub keep: bool,
    /// The port of the KMS (default: 8081 with --data-dir, else a free one).
    #[arg(long, global = true, value_name = "PORT")]
    pub kms_port: Option<u16>,
    /// The port of Identity (default: 8082 with --data-dir, else a free one).
    #[arg(long, global = true, value_name = "PORT")]
    pub identity_port: Option<u16>,
}

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The KMS: keys and what they do, after one log-in.
    Kms,
    /// Identity: log-in, tokens, and how they end.
    Identity,
    /// Identity and KMS together.
    All,
    /// The version of this program.
    Version,
}

/// How to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Human,
    /// One document at the end.
    Json,
    /// One JSON object a line, as things happen.
    Structured,
}

/// How the wait between tries grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backoff {
    /// It does not.
    Fixed,
    /// It doubles, up to 30 s.
    Exponential,
}

/// What becomes of the data when some steps failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnPartial {
    /// It stays, to be looked at.
    Keep,
    /// It goes.
    Cleanup,
}

impl Cli {
    /// How to report, `--json` included.
    #[must_use]
    pub fn output(&self) -> Output {
        if self.json { Output::Json } else { self.output }
    }

    /// The wait before try number `attempt` (from 1).
    #[must_use]
    pub fn wait(&self, attempt: u32) -> Duration {
        let first = self.retry_delay;
        match self.retry_backoff {
            Backoff::Fixed => first,
            Backoff::Exponential => {
                first.saturating_mul(1 << attempt.saturating_sub(1).min(8)).min(Duration::from_secs(30))
            }
        }
    }
}

/// `500ms`, `30s`, `2m`, or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<u64>().ok();
    let duration = match unit {
        "ms" => number.map(Duration::from_millis),
        "" | "s" => number.map(Duration::from_secs),
        "m" => number.and_then(|minutes| minutes.checked_mul(60)).map(Duration::from_secs),
        _ => None,
    };
    duration.ok_or_else(|| "expected a duration as 500ms, 30s or 2m, or a number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The help names the defaults that hold (DEM-04).
    #[test]
    fn help_and_defaults_agree() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        let cli = Cli::parse_from(["demo", "all"]);
        assert!(help.contains("[default: 30s]") && cli.health_timeout == Duration::from_secs(30));
        assert!(help.contains("[default: 1s]") && cli.retry_delay == Duration::from_secs(1));
        assert!(help.contains("[default: 3]") && cli.retry == 3);
        assert!(help.contains("[default: human]") && cli.output() == Output::Human);
        assert!(help.contains("[default: embedded]") && cli.target == Target::Embedded);
        assert_eq!(Cli::parse_from(["demo", "all", "--json"]).output(), Output::Json);
        let cli = Cli::parse_from(["demo", "all", "--retry-backoff", "exponential"]);
        assert_eq!([1, 2, 3, 9].map(|n| cli.wait(n).as_secs()), [1, 2, 4, 30]);
    }

    #[test]
    fn durations_have_units_or_are_seconds() {
        let read = |text| duration(text).ok().map(|duration| duration.as_millis());
        assert_eq!(["500ms", "30s", "2m", "7", "0"].map(read), [500, 30_000, 120_000, 7_000, 0].map(Some));
        for bad in ["", "s", "1.5s", "-1s", "1h", "1 s", "99999999999999999999s", "9999999999999999999m"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
