//! The calls of the operators under test, kept in a folder that the suites share: what the rights are compared with.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use operator::journal::Call;

/// The folder; `cargo xtask test` gives it. Without it nothing is kept.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os("KEYREALM_TEST_CALLS").map(PathBuf::from)
}

/// Keeps a call of the operator's own code as `group resource verb`, once a process. One that was not allowed proves no need
/// of the right that it lacked.
#[allow(dead_code, reason = "the comparison itself makes no calls")]
pub(crate) fn keep(call: &Call) {
    static KEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let Some(folder) = folder() else { return };
    if matches!(call.status, 0 | 401 | 403) {
        return;
    }
    let subresource = if call.subresource.is_empty() { String::new() } else { format!("/{}", call.subresource) };
    let line = format!("{} {}{subresource} {}\n", call.group, call.resource, call.verb);
    let mut kept = KEPT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if kept.insert(line.clone()) {
        let program = std::env::current_exe().unwrap();
        let suite = program.file_name().unwrap().to_string_lossy().into_owned();
        let suite = suite.rsplit_once('-').map_or(suite.as_str(), |(suite, _)| suite);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{suite}.{}", std::process::id()));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
