//! One at a time, by a lock file that names its holder. The lock goes with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "closing the file frees the lock")] File);

/// Takes the lock for `what`, as in "the images are being built".
///
/// # Errors
/// When somebody holds it: the message names who.
pub(crate) fn take(path: &Path, what: &str) -> Result<Lock> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path).with_context(|| format!("cannot open the lock file {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            bail!(
                "{what} by {}; wait until it ends, or stop it (lock file {})",
                if holder.trim().is_empty() { "another process" } else { holder.trim() },
                path.display()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "process {} (cargo xtask {})", std::process::id(), arguments.join(" ")))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Lock(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = take(&path, "the images are being built").unwrap();
        let error = take(&path, "the images are being built").unwrap_err().to_string();
        assert!(error.contains(&format!("being built by process {} ", std::process::id())), "{error}");
        drop(first);
        take(&path, "the images are being built").unwrap();
    }
}
