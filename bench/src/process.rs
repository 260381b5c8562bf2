//! Server processes: started, watched and ended.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use keyrealm_http::probe;
use keyrealm_tls::TrustBundle;

/// A running server.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        trust: &TrustBundle,
        admin: &str,
    ) -> Result<Self> {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut process = Self { child: child.with_context(|| format!("cannot start {}", program.display()))?, name };
        for _ in 0..400 {
            if let Some(status) = process.child.try_wait()? {
                bail!("{name} ended with {status}");
            }
            if probe(trust, admin, "readyz").await.is_ok() {
                return Ok(process);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{name} is not ready")
    }

    /// Resident memory, in MB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
        Ok(kilobytes.with_context(|| format!("{} has no VmRSS", self.name))? / 1024.0)
    }

    /// Processor time used so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        // utime and stime, the 14th and 15th field, in ticks of 10 ms (USER_HZ, the same on all of Linux).
        let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(ticks / 100.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
