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
        let mut process = Self::spawn(name, program, arguments, Stdio::null())?;
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

    /// Starts it.
    pub(crate) fn spawn(name: &'static str, program: &Path, arguments: &[&str], log: Stdio) -> Result<Self> {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(log).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start {}", program.display()))?, name })
    }

    /// Resident memory, in MB.
    pub(crate) fn memory(&self) -> Result<f64> {
        memory(&self.child.id().to_string()).with_context(|| self.name)
    }

    /// Processor time used so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu(&self.child.id().to_string())
    }
}

/// Resident memory of a process, in MB.
fn memory(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
    Ok(kilobytes.context("there is no VmRSS")? / 1024.0)
}

/// Processor time that a process has used so far, in seconds; `self` is this one.
pub(crate) fn cpu(process: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    // utime and stime, the 14th and 15th field, in ticks of 10 ms (USER_HZ, the same on all of Linux).
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
