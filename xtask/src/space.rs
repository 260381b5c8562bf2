//! Room on the disk, looked at before a big step and not in the middle of it.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Fails where the folder's disk has less than `mebibytes` free.
///
/// # Errors
/// When it has not, or cannot be asked.
pub(crate) fn require(folder: &Path, mebibytes: u64, what: &str) -> Result<()> {
    let disk =
        rustix::fs::statvfs(folder).with_context(|| format!("cannot ask for the space of {}", folder.display()))?;
    judge(disk.f_bavail.saturating_mul(disk.f_frsize) >> 20, mebibytes, folder, what)
}

fn judge(free: u64, needed: u64, folder: &Path, what: &str) -> Result<()> {
    if free < needed {
        bail!(
            "{what} needs {needed} MiB on the disk of {}, {free} MiB are free: make room, or set XDG_CACHE_HOME (and \
             GOCACHE, CARGO_TARGET_DIR) to another disk",
            folder.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_is_named_in_numbers() {
        let error = judge(99, 100, Path::new("/cache"), "the base image").unwrap_err().to_string();
        assert!(error.contains("the base image needs 100 MiB") && error.contains("99 MiB are free"), "{error}");
        judge(100, 100, Path::new("/cache"), "the base image").unwrap();
    }
}
