//! The operator's figures (`/metrics`), in OpenMetrics text. Labels are bounded: kinds, verbs, outcomes, never names of
//! objects but those of Realms.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The most series of one metric: what comes beyond is not counted.
const MAX_SERIES: usize = 2000;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Name, kind, labels, help.
type Definition = (&'static str, Kind, &'static [&'static str], &'static str);

/// Every metric that there is.
const DEFINITIONS: [Definition; 15] = [
    ("reconcile", Kind::Counter, &["kind", "outcome"], "Passes over an object."),
    ("reconcile_duration_seconds", Kind::Histogram, &["kind"], "How long passes took."),
    ("queue_depth", Kind::Gauge, &["kind"], "Objects that wait for a pass."),
    ("queue_wait_seconds", Kind::Histogram, &["kind"], "How long objects waited for a pass."),
    ("api_requests", Kind::Counter, &["verb", "resource", "code"], "Calls of the API server."),
    ("api_writes_skipped", Kind::Counter, &[], "Writes that were not needed."),
    (
        "certificate_not_after_timestamp_seconds",
        Kind::Gauge,
        &["realm", "tier"],
        "When the first certificate of a tier ends.",
    ),
    ("ca_rotation_phase", Kind::Gauge, &["realm"], "Phase of the CA rotation, 0 when none is under way."),
    ("restarts", Kind::Counter, &["kind", "reason"], "Workloads whose pods were replaced on purpose."),
    ("leader", Kind::Gauge, &[], "1 for the process that works."),
    ("watch_errors", Kind::Counter, &["kind"], "Watches that broke."),
    ("watch_last_ok_timestamp_seconds", Kind::Gauge, &["kind"], "When a watch gave something last."),
    ("objects", Kind::Gauge, &["kind", "ready"], "Objects, by their Ready condition."),
    ("tenant_schema", Kind::Counter, &["state"], "What became of schemas of tenants."),
    ("left_behind", Kind::Counter, &["kind", "reason"], "Finalizers released although something was left."),
];

#[derive(Debug, Clone, Default)]
struct Series {
    value: f64,
    buckets: [u64; BUCKETS.len()],
    count: u64,
}

/// The series of a metric, by the values of its labels.
type Family = BTreeMap<Vec<String>, Series>;

/// The figures of this process.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<&'static str, Family>>>);

impl Metrics {
    fn with(&self, name: &'static str, labels: &[&str], change: impl FnOnce(&mut Series)) {
        debug_assert!(DEFINITIONS.iter().any(|(known, _, wanted, _)| *known == name && wanted.len() == labels.len()));
        let Ok(mut all) = self.0.lock() else { return };
        let family = all.entry(name).or_default();
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        if family.len() < MAX_SERIES || family.contains_key(&labels) {
            change(family.entry(labels).or_default());
        }
    }

    fn add(&self, name: &'static str, labels: &[&str]) {
        self.with(name, labels, |series| series.value += 1.0);
    }

    fn set(&self, name: &'static str, labels: &[&str], value: f64) {
        self.with(name, labels, |series| series.value = value);
    }

    fn observe(&self, name: &'static str, labels: &[&str], took: Duration) {
        self.with(name, labels, |series| {
            let seconds = took.as_secs_f64();
            series.value += seconds;
            series.count += 1;
            for (bucket, bound) in series.buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= bound);
            }
        });
    }

    /// A pass ended: `ok` or `error`.
    pub fn reconciled(&self, kind: &str, outcome: &str, took: Duration) {
        self.add("reconcile", &[kind, outcome]);
        self.observe("reconcile_duration_seconds", &[kind], took);
    }

    /// A pass began after this wait; so many more objects wait.
    pub fn dequeued(&self, kind: &str, waited: Duration) {
        self.observe("queue_wait_seconds", &[kind], waited);
    }

    /// So many objects wait.
    pub fn queue_depth(&self, kind: &str, depth: usize) {
        self.set("queue_depth", &[kind], count(depth));
    }

    /// A call was answered, or failed (`code` `error`).
    pub fn api_request(&self, verb: &str, resource: &str, code: &str) {
        self.add("api_requests", &[verb, resource, code]);
    }

    /// A write was not needed.
    pub fn write_skipped(&self) {
        self.add("api_writes_skipped", &[]);
    }

    /// When the first certificate of a tier (`root`, `issuing`, `leaf`) ends, in seconds since 1970.
    pub fn certificate_not_after(&self, realm: &str, tier: &str, seconds: i64) {
        self.set("certificate_not_after_timestamp_seconds", &[realm, tier], timestamp(seconds));
    }

    /// The phase of a CA rotation.
    pub fn ca_rotation_phase(&self, realm: &str, phase: u8) {
        self.set("ca_rotation_phase", &[realm], f64::from(phase));
    }

    /// A Realm is gone: so are its series.
    pub fn forget_realm(&self, realm: &str) {
        let Ok(mut all) = self.0.lock() else { return };
        for name in ["certificate_not_after_timestamp_seconds", "ca_rotation_phase"] {
            if let Some(family) = all.get_mut(name) {
                family.retain(|labels, _| labels.first().map(String::as_str) != Some(realm));
            }
        }
    }

    /// The pods of a workload are replaced.
    pub fn restart(&self, kind: &str, reason: &str) {
        self.add("restarts", &[kind, reason]);
    }

    /// Whether this process works.
    pub fn leader(&self, leads: bool) {
        self.set("leader", &[], f64::from(u8::from(leads)));
    }

    /// A watch broke.
    pub fn watch_error(&self, kind: &str) {
        self.add("watch_errors", &[kind]);
    }

    /// A watch gave something, at this time in seconds since 1970.
    pub fn watch_ok(&self, kind: &str, seconds: i64) {
        self.set("watch_last_ok_timestamp_seconds", &[kind], timestamp(seconds));
    }

    /// How many objects of a kind are ready, and how many not.
    pub fn objects(&self, kind: &str, ready: usize, not_ready: usize) {
        self.set("objects", &[kind, "true"], count(ready));
        self.set("objects", &[kind, "false"], count(not_ready));
    }

    /// What became of a tenant's schemas: `created`, `adopted`, `retained`, `archived`, `dropped`.
    pub fn tenant_schema(&self, state: &str) {
        self.add("tenant_schema", &[state]);
    }

    /// A finalizer was released although something could not be cleaned up.
    pub fn left_behind(&self, kind: &str, reason: &str) {
        self.add("left_behind", &[kind, reason]);
    }

    /// All of them, as OpenMetrics 1.0 text.
    #[must_use]
    pub fn render(&self) -> String {
        let all = self.0.lock().map(|all| all.clone()).unwrap_or_default();
        let mut text = String::new();
        for (name, kind, labels, help) in DEFINITIONS {
            let full = format!("keyrealm_operator_{name}");
            let word = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = writeln!(text, "# HELP {full} {help}\n# TYPE {full} {word}");
            for (values, series) in all.get(name).into_iter().flatten() {
                let own: Vec<String> =
                    labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
                let _ = match kind {
                    Kind::Counter => writeln!(text, "{full}_total{} {}", braces(&own, None), series.value),
                    Kind::Gauge => writeln!(text, "{full}{} {}", braces(&own, None), series.value),
                    Kind::Histogram => {
                        for (bound, number) in BUCKETS.iter().zip(series.buckets) {
                            let _ = writeln!(text, "{full}_bucket{} {number}", braces(&own, Some(&bound.to_string())));
                        }
                        let _ = writeln!(text, "{full}_bucket{} {}", braces(&own, Some("+Inf")), series.count);
                        let _ = writeln!(text, "{full}_sum{} {}", braces(&own, None), series.value);
                        writeln!(text, "{full}_count{} {}", braces(&own, None), series.count)
                    }
                };
            }
        }
        text.push_str("# EOF\n");
        text
    }
}

fn braces(own: &[String], bound: Option<&str>) -> String {
    let mut parts = own.to_vec();
    parts.extend(bound.map(|bound| format!("le=\"{bound}\"")));
    if parts.is_empty() { String::new() } else { format!("{{{}}}", parts.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Exact until the year 285 428 751.
#[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
fn timestamp(seconds: i64) -> f64 {
    seconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_openmetrics() {
        let metrics = Metrics::default();
        metrics.reconciled("Realm", "ok", Duration::from_millis(20));
        metrics.reconciled("Realm", "ok", Duration::from_secs(60));
        metrics.api_request("patch", "secrets", "200");
        metrics.leader(true);
        metrics.certificate_not_after("a/b", "leaf", 1_800_000_000);
        let text = metrics.render();
        for line in [
            "# TYPE keyrealm_operator_reconcile counter",
            "keyrealm_operator_reconcile_total{kind=\"Realm\",outcome=\"ok\"} 2",
            "keyrealm_operator_reconcile_duration_seconds_bucket{kind=\"Realm\",le=\"0.01\"} 0",
            "keyrealm_operator_reconcile_duration_seconds_bucket{kind=\"Realm\",le=\"0.05\"} 1",
            "keyrealm_operator_reconcile_duration_seconds_bucket{kind=\"Realm\",le=\"+Inf\"} 2",
            "keyrealm_operator_reconcile_duration_seconds_count{kind=\"Realm\"} 2",
            "keyrealm_operator_api_requests_total{verb=\"patch\",resource=\"secrets\",code=\"200\"} 1",
            "keyrealm_operator_leader 1",
            "keyrealm_operator_certificate_not_after_timestamp_seconds{realm=\"a/b\",tier=\"leaf\"} 1800000000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        metrics.forget_realm("a/b");
        assert!(!metrics.render().contains("a/b"));
    }

    #[test]
    fn series_are_bounded() {
        let metrics = Metrics::default();
        for number in 0..MAX_SERIES + 10 {
            metrics.certificate_not_after(&number.to_string(), "leaf", 1);
        }
        assert_eq!(metrics.render().matches("tier=").count(), MAX_SERIES);
    }
}
