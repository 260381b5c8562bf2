//! The folder of servers in this process: a temporary one, or the user's, of which nothing but the demo's own files ever goes.

use std::fs;
use std::io::{ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Says that a folder is the demo's.
const MARKER: &str = ".keyrealm-demo";
const MARKER_TEXT: &str = "This folder was filled by Keyrealm's demo, which may delete its own files again.\n";
/// The databases.
const DATA: &str = "data";
/// All that the demo writes beside [`DATA`]; the marker last, so that what was begun can be gone on with.
const FILES: [&str; 14] = [
    "card.txt",
    "credentials.json",
    "ca.pem",
    "ca-chain.pem",
    "ca-key.pem",
    "identity.pem",
    "identity-key.pem",
    "identity-unseal.key",
    "kms.pem",
    "kms-key.pem",
    "kms-unseal.key",
    "operator.pem",
    "operator-key.pem",
    MARKER,
];
/// Ends of the names of SQLite's files.
const DATABASES: [&str; 4] = [".sqlite", ".sqlite-wal", ".sqlite-shm", ".sqlite-journal"];
/// How often and after what wait a temporary folder is deleted again, in which a task of servers that did not start
/// still made a file.
const TRIES: u32 = 50;
const WAIT: Duration = Duration::from_millis(20);

/// The folder of a run.
pub(crate) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
    /// Whether this run made it.
    made: bool,
    /// Whether it was empty when this run began.
    fresh: bool,
}

impl Folder {
    /// The folder that was given, or a temporary one.
    ///
    /// # Errors
    /// When it cannot be made, or has somebody else's files in it.
    pub(crate) fn open(given: Option<&Path>) -> Result<Self> {
        let Some(given) = given else {
            let temporary = tempfile::Builder::new().prefix("keyrealm-demo-").tempdir()?;
            let path = temporary.path().to_owned();
            return Ok(Self { path, temporary: Some(temporary), made: true, fresh: true });
        };
        let path = std::path::absolute(given)?;
        let made = !path.exists();
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let mut files = fs::read_dir(&path).with_context(|| format!("cannot read the folder {}", path.display()))?;
        let fresh = files.next().is_none();
        ensure!(
            fresh || path.join(MARKER).is_file(),
            "--data-dir {}: the folder is not empty and not the demo's (it has no file {MARKER}): give an empty or a new one",
            path.display()
        );
        let marker = path.join(MARKER);
        fs::write(&marker, MARKER_TEXT).with_context(|| format!("cannot write {}", marker.display()))?;
        Ok(Self { path, temporary: None, made, fresh })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes in any case.
    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Whether nothing of an earlier run is in it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The end of the run: a temporary folder goes.
    pub(crate) async fn close(self) {
        if self.temporary.is_none() {
            return;
        }
        for _ in 0..TRIES {
            match fs::remove_dir_all(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(_) => tokio::time::sleep(WAIT).await,
            }
        }
    }

    /// Deletes what the demo made: its files, and the folder, if this run made it and nobody put anything into it.
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub(crate) async fn clean(self) -> IoResult<()> {
        if self.temporary.is_some() {
            self.close().await;
            return Ok(());
        }
        let data = self.path.join(DATA);
        delete(&data, |name| name == "lock" || DATABASES.iter().any(|end| name.ends_with(end)))?;
        remove(fs::remove_dir(&data))?;
        delete(&self.path, is_half_written)?;
        for name in FILES {
            remove(fs::remove_file(self.path.join(name)))?;
        }
        if self.made { remove(fs::remove_dir(&self.path)) } else { Ok(()) }
    }
}

/// Files are written beside their place first: `.<name>.<process>.<number>.new`.
fn is_half_written(name: &str) -> bool {
    let own = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")).unwrap_or_default();
    FILES.iter().any(|file| own.strip_prefix(file).is_some_and(|rest| rest.starts_with('.')))
}

/// Deletes the files of a folder that are the demo's by their names.
fn delete(folder: &Path, own: impl Fn(&str) -> bool) -> IoResult<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&own) {
            remove(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

/// What is gone already, or holds somebody else's files, is no failure.
fn remove(result: IoResult<()>) -> IoResult<()> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_with_other_files_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        let refused = Folder::open(Some(folder.path())).err().unwrap().to_string();
        assert!(refused.contains("not empty") && refused.contains(MARKER), "{refused}");
        assert_eq!(names(folder.path()), ["thesis.txt"]);
    }

    #[tokio::test]
    async fn only_the_demos_own_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join(DATA);
        assert!(Folder::open(Some(folder.path())).unwrap().is_fresh());
        fs::create_dir(&data).unwrap();
        for name in FILES.into_iter().chain([".ca.pem.7.1.new", "mine.pem", ".mine.pem.7.1.new"]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        for name in ["keyrealm.sqlite", "keyrealm.sqlite-wal", "lock", "mine"] {
            fs::write(data.join(name), "").unwrap();
        }
        let again = Folder::open(Some(folder.path())).unwrap();
        assert!(!again.is_fresh());
        again.clean().await.unwrap();
        assert_eq!(names(folder.path()), [".mine.pem.7.1.new", DATA, "mine.pem"]);
        assert_eq!(names(&data), ["mine"]);

        let new = folder.path().join("new");
        Folder::open(Some(&new)).unwrap().clean().await.unwrap();
        assert!(!new.exists(), "what the run made goes whole");
    }
}
