//! The operator's own program, started and killed.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::world::kubeconfig;

pub(crate) struct Operator {
    process: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Operator {
    /// For one namespace; it ends at this point, if there is one.
    pub(crate) fn start(namespace: &str, failpoint: Option<&str>) -> Self {
        Self::start_with(namespace, failpoint, &[format!("kubeconfig={}", kubeconfig().display())])
    }

    pub(crate) fn start_with(namespace: &str, failpoint: Option<&str>, more: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_operator"));
        command.arg("run");
        let run = folder.path().join("run").display().to_string();
        let settings = [
            format!("watch.namespaces={namespace}"),
            "lease.enabled=false".to_owned(),
            format!("lease.namespace={namespace}"),
            "server.admin.address=127.0.0.1:0".to_owned(),
            "telemetry.format=human".to_owned(),
            format!("runtime_dir={run}"),
        ];
        for setting in settings.iter().chain(more) {
            command.arg("--set").arg(setting);
        }
        if let Some(name) = failpoint {
            command.env("KEYREALM_FAILPOINT", name);
        }
        let file = std::fs::File::create(&log).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { process, log, _folder: folder }
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// Waits until it is killed at its point.
    pub(crate) async fn dies(&mut self, at: &str) {
        use std::os::unix::process::ExitStatusExt;
        let began = Instant::now();
        loop {
            if let Some(status) = self.has_ended() {
                assert_eq!(status.signal(), Some(9), "{at}: {status}: {}", self.text());
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{at} is not reached: {}", self.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- operator {}\n{}", self.process.id(), self.text());
        }
    }
}
