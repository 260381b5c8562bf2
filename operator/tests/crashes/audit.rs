//! The API server's audit log: what was called, whoever says otherwise.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::world::kubeconfig;

/// A call of the operator's, as the API server saw it.
pub(crate) struct Call(Value);

impl Call {
    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn verb(&self) -> &str {
        self.text("/verb")
    }

    pub(crate) fn resource(&self) -> &str {
        self.text("/objectRef/resource")
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.text("/stageTimestamp"), self.verb(), self.text("/requestURI"))
    }
}

/// The log of the control plane that the tests run on, from here on.
pub(crate) struct Audit {
    path: PathBuf,
    from: u64,
}

impl Audit {
    pub(crate) fn now() -> Self {
        let path = kubeconfig().parent().unwrap().join("logs/audit.log");
        let length = std::fs::metadata(&path).map(|file| file.len());
        Self { from: length.expect("the audit log of a control plane of `cargo xtask cluster`"), path }
    }

    /// What operators called in this namespace meanwhile.
    pub(crate) fn calls_in(&self, namespace: &str) -> Vec<Call> {
        let mut file = File::open(&self.path).unwrap();
        assert!(file.metadata().unwrap().len() >= self.from, "a new log was begun: its size is bounded");
        file.seek(SeekFrom::Start(self.from)).unwrap();
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        // The last line may not be whole yet.
        let calls = lines.filter_map(|line| serde_json::from_str(&line).ok()).map(Call);
        let ours = |call: &Call| {
            call.text("/userAgent").starts_with("keyrealm-operator/")
                && (call.text("/objectRef/namespace") == namespace || call.text("/requestURI").contains(namespace))
        };
        calls.filter(ours).collect()
    }
}
