//! The log of this process, kept for looking into.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use keyrealm_telemetry::Format;

/// Everything that was logged, at the finest level.
#[derive(Clone, Default)]
pub struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    /// Captures from now on; tests of one process share it.
    #[must_use]
    pub fn start() -> Self {
        static LOG: OnceLock<CapturedLog> = OnceLock::new();
        let start = || {
            let log = Self::default();
            let writer = log.clone();
            keyrealm_telemetry::init(Format::Json, "trace", move || writer.clone()).unwrap();
            log
        };
        LOG.get_or_init(start).clone()
    }

    /// What was logged.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
