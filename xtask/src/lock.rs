//! A file that one process holds at a time, and that says who.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::command::say;

/// Held until it is dropped or the process ends, however that ends.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// When somebody else has it, by the line that he wrote; when the file cannot be made.
    pub(crate) fn take(path: &Path, purpose: &str) -> Result<Self> {
        let mut file = open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("{} is held by {}; wait for it or end it", path.display(), holder(&mut file));
        }
        Self::held(file, path, purpose)
    }

    /// Takes the lock, after whoever has it.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub(crate) fn wait(path: &Path, purpose: &str) -> Result<Self> {
        let mut file = open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            say(&format!("waiting for {} (held by {})", path.display(), holder(&mut file)));
            flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Self::held(file, path, purpose)
    }

    fn held(mut file: File, path: &Path, purpose: &str) -> Result<Self> {
        let line = format!("process {} ({purpose})", std::process::id());
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(line.as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", PathBuf::from(folder).display()))?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).with_context(|| format!("cannot open the lock file {}", path.display()))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => text,
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/lock");
        let first = FileLock::take(&path, "cluster up").unwrap();
        let refused = FileLock::take(&path, "cluster down").err().unwrap().to_string();
        assert!(refused.contains(&format!("process {} (cluster up)", std::process::id())), "{refused}");
        drop(first);
        let second = FileLock::take(&path, "x").unwrap();
        assert!(FileLock::take(&path, "y").err().unwrap().to_string().contains("(x)"));
        drop(second);
        assert!(FileLock::wait(&path, "z").is_ok());
    }
}
