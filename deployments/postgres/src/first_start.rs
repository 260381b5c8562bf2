//! The data folder: whether it has a database, and making one so that an interrupted start leaves none.
//!
//! The database is made in a folder of its own inside and then moved up, `PG_VERSION` last. Until that is there the next
//! start begins anew; the folder of its own shows that what lies beside it is ours.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::complain;
use crate::initdb::{self, Temporary};
use crate::settings::Settings;

/// Where the first start works.
const MAKING: &str = "keyrealm-making";
/// What shows that the folder has a database.
const MARK: &str = "PG_VERSION";
/// Statements of the user, run once.
const SCRIPTS: &str = "/docker-entrypoint-initdb.d";

/// Whether the folder has no database yet.
///
/// # Errors
/// When it has something else, or is somebody else's.
pub(crate) fn is_needed(data: &Path) -> Result<bool> {
    if data.join(MARK).is_file() {
        // What an earlier start could not take away in its last step.
        remove(&data.join(MAKING))?;
        return Ok(false);
    }
    fs::create_dir_all(data).with_context(|| format!("cannot make the data folder {}", data.display()))?;
    let owner = fs::metadata(data).with_context(|| format!("cannot read {}", data.display()))?.uid();
    let own = rustix::process::geteuid().as_raw();
    if owner != own {
        bail!(
            "the data folder {} belongs to account {owner}, and the server runs as {own}: set PGDATA to a folder inside it",
            data.display()
        );
    }
    let names = names(data)?;
    if !names.iter().any(|name| name == MAKING) && names.iter().any(|name| name != "lost+found") {
        bail!("the data folder {} is not empty and has no database; empty it or set PGDATA", data.display());
    }
    Ok(true)
}

/// Makes the database, its owner and what the user's scripts say.
///
/// # Errors
/// With the program that failed.
pub(crate) fn run(settings: &Settings, password: &str) -> Result<()> {
    let data = &settings.data;
    for name in names(data)?.iter().filter(|name| *name != "lost+found" && *name != MAKING) {
        complain(&format!("{name} is of an interrupted first start and is removed"));
        remove(&data.join(name))?;
    }
    let making = data.join(MAKING);
    remove(&making)?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot close {} to others", data.display()))?;
    complain("first start: making the database");
    initdb::make(&making, settings, password)?;
    let server = Temporary::start(&making)?;
    if settings.database != "postgres" {
        let quoted = settings.database.replace('"', "\"\"");
        server.run(settings, "postgres", &["--command", &format!("CREATE DATABASE \"{quoted}\"")])?;
    }
    for script in scripts(Path::new(SCRIPTS))? {
        complain(&format!("running {}", script.display()));
        server.run(settings, &settings.database, &["--file", &script.display().to_string()])?;
    }
    server.stop()?;
    move_up(&making, data)?;
    complain("first start: done");
    Ok(())
}

/// The statements to run, in the order of their names.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in names_if_there(folder)? {
        if name.ends_with(".sql") {
            found.push(folder.join(name));
        } else {
            complain(&format!("{} is ignored: only *.sql files are run", folder.join(name).display()));
        }
    }
    Ok(found)
}

/// Moves the database up, with its mark as the last.
fn move_up(making: &Path, data: &Path) -> Result<()> {
    let mut names = names(making)?;
    names.sort_by_key(|name| name == MARK);
    for name in names {
        fs::rename(making.join(&name), data.join(&name)).with_context(|| format!("cannot move {name} up"))?;
    }
    remove(making)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn names_if_there(folder: &Path) -> Result<Vec<String>> {
    if folder.is_dir() { names(folder) } else { Ok(Vec::new()) }
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_folder_or_an_interrupted_start_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        assert!(is_needed(&data).unwrap(), "it is made");
        fs::write(data.join("somebody"), "x").unwrap();
        assert!(is_needed(&data).unwrap_err().to_string().contains("not empty"));
        fs::create_dir(data.join(MAKING)).unwrap();
        assert!(is_needed(&data).unwrap(), "the folder shows that the rest is ours");
        fs::write(data.join(MARK), "15").unwrap();
        assert!(!is_needed(&data).unwrap());
        assert!(!data.join(MAKING).exists());
    }

    #[test]
    fn the_mark_moves_last() {
        let folder = tempfile::tempdir().unwrap();
        let making = folder.path().join(MAKING);
        fs::create_dir_all(making.join("base")).unwrap();
        fs::write(making.join(MARK), "15").unwrap();
        fs::write(making.join("zzz"), "").unwrap();
        // The last but one cannot be moved: the mark must not be there then.
        fs::create_dir_all(folder.path().join("zzz/full")).unwrap();
        assert!(move_up(&making, folder.path()).is_err());
        assert!(!folder.path().join(MARK).exists());
        fs::remove_dir_all(folder.path().join("zzz")).unwrap();
        move_up(&making, folder.path()).unwrap();
        assert!(folder.path().join(MARK).exists() && !making.exists());
    }
}
