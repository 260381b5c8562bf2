//! Logging: human or JSON lines, with fields that may hold secrets masked whoever writes them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("telemetry.level: `{0}` is no log filter such as `info` or `info,kms=debug`")]
    Filter(String),
    /// There is a log already.
    #[error("logging was set up twice in this process")]
    Twice,
}

/// Sends log lines to `writer` for the rest of the process.
///
/// # Errors
/// When the filter cannot be read or it was called before.
pub fn init<W>(format: Format, level: &str, writer: W) -> Result<(), TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing::dispatcher::set_global_default(subscriber(format, level, writer)?).map_err(|_| TelemetryError::Twice)
}

/// A log for one part of a process.
///
/// # Errors
/// When the filter cannot be read.
pub fn subscriber<W>(format: Format, level: &str, writer: W) -> Result<tracing::Dispatch, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(level)?;
    let fields = debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        write!(writer, "{}={:?}", field.name(), Masked(field, value))
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let lines = lines.fmt_fields(fields.delimited(" ")).event_format(Lines(format));
    Ok(tracing_subscriber::registry().with(filter).with(lines).into())
}

/// Whether a filter can be read.
///
/// # Errors
/// When it cannot.
pub fn check_level(level: &str) -> Result<(), TelemetryError> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<Targets, TelemetryError> {
    level.parse().map_err(|_| TelemetryError::Filter(level.to_owned()))
}

/// The span's field that becomes a member of every line within it.
const REQUEST_ID: &str = "request_id";

/// Parts of field names behind which a secret may stand.
const SECRET: [&str; 11] = [
    "password",
    "secret",
    "token",
    "authorization",
    "cookie",
    "code",
    "verifier",
    "private",
    "plaintext",
    "credential",
    "assertion",
];

/// Names that hold one of these words and no secret.
const PLAIN: [&str; 4] = ["status_code", "error_code", "token_type", "problem_code"];

/// Asked for every field of every request's span: it allocates nothing.
fn is_secret(name: &str) -> bool {
    let holds =
        |part: &str| name.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    SECRET.iter().any(|part| holds(part)) && !PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(name))
}

/// A field's value as the log shows it.
struct Masked<'v>(&'v Field, &'v dyn fmt::Debug);

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_secret(self.0.name()) { f.write_str("***") } else { self.1.fmt(f) }
    }
}

/// Collects an event's fields; the message apart.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Map<String, Value>,
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => drop(self.fields.insert(name.to_owned(), format!("{:?}", Masked(field, value)).into())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let shown = if is_secret(field.name()) { "***" } else { value };
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => drop(self.fields.insert(name.to_owned(), shown.into())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value.into());
    }
}

impl Collected {
    fn number(&mut self, field: &Field, value: Value) {
        let value = if is_secret(field.name()) { "***".into() } else { value };
        self.fields.insert(field.name().to_owned(), value);
    }
}

/// Writes an event as one line.
struct Lines(Format);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut event_fields = Collected::default();
        event.record(&mut event_fields);
        let (mut spans, mut request_id) = (Vec::new(), None);
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().map_or("", |formatted| formatted.fields.as_str());
            // The fields were made into text when the span began: what only some lines need costs no request anything.
            let named = |field: &str| Some(field.strip_prefix(REQUEST_ID)?.strip_prefix('=')?.to_owned());
            request_id = request_id.or_else(|| fields.split(' ').find_map(named));
            spans.push(format!("{}{{{fields}}}", span.name()));
        }
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let line = match self.0 {
            Format::Human => {
                let fields: String =
                    event_fields.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!(
                    "{time} {:>5} {}: {}{fields} {}",
                    metadata.level(),
                    metadata.target(),
                    event_fields.message,
                    spans.join(":")
                )
            }
            Format::Json => {
                let mut line = json!({
                    "timestamp": time,
                    "severity": metadata.level().as_str(),
                    "target": metadata.target(),
                    "body": event_fields.message,
                    "attributes": event_fields.fields,
                    "spans": spans,
                });
                if let (Some(id), Some(members)) = (request_id, line.as_object_mut()) {
                    members.insert(REQUEST_ID.to_owned(), id.into());
                }
                line.to_string()
            }
        };
        writeln!(writer, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = subscriber(format, "trace", move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&log, || {
            let span = tracing::info_span!("request", authorization = "canary-1", path = "/x");
            let _guard = span.enter();
            tracing::info!(client_secret = "canary-2", refresh_token = ?"canary-3", status_code = 201, "done");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn secrets_are_masked_in_events_and_spans_and_the_rest_is_there() {
        for format in [Format::Human, Format::Json] {
            let text = logged(format);
            assert!(!text.contains("canary"), "{text}");
            assert!(
                text.contains("***") && text.contains("201") && text.contains("/x") && text.contains("done"),
                "{text}"
            );
        }
        assert!(logged(Format::Json).lines().all(|line| line.starts_with('{') && line.ends_with('}')));
    }

    /// What a problem tells the caller is found in the log by its own member.
    #[test]
    fn the_request_id_is_a_member_of_lines_within_a_request() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = subscriber(Format::Json, "info", move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&log, || {
            let path = "/x request_id=theirs";
            let span = tracing::info_span!("request", request_id = %"ours", path);
            span.in_scope(|| tracing::info_span!("inner", path).in_scope(|| tracing::info!("within")));
            tracing::info!("without");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["body"], &lines[0]["request_id"]), (&"within".into(), &"ours".into()));
        assert!(lines[1].get("request_id").is_none(), "{text}");
    }

    #[test]
    fn a_filter_that_is_none_is_named() {
        assert!(subscriber(Format::Human, "kms=loud", std::io::sink).unwrap_err().to_string().contains("`kms=loud`"));
        assert!(check_level("kms=loud").is_err() && check_level("info,kms=debug").is_ok());
    }
}
