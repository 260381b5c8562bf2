//! The folder that `docker build` is given: a folder an image with its program, bill of materials and licence. Modes and
//! times are fixed, so that the same programs make the same layers.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::plan::IMAGES;
use super::{MOMENT, sbom};
use crate::command::root;

/// Fills the folder, which is emptied first.
///
/// # Errors
/// When a file cannot be copied.
pub(crate) fn make(folder: &Path, binaries: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let licence = root().join("LICENSE");
    let materials = sbom::read()?;
    for image in IMAGES {
        let own = folder.join("binaries").join(image.name);
        fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        copy(&binaries.join(image.binary), &own.join(image.binary), 0o755)?;
        copy(&licence, &own.join("LICENSE"), 0o644)?;
        let path = own.join(format!("{}.cdx.json", image.name));
        fs::write(&path, materials.document(image.package)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        settle(&path, 0o644)?;
        settle(&own, 0o755)?;
    }
    settle(&folder.join("binaries"), 0o755)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    settle(to, mode)
}

/// The mode and the time that they all have.
fn settle(path: &Path, mode: u32) -> Result<()> {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(MOMENT);
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .and_then(|()| File::open(path)?.set_modified(moment))
        .with_context(|| format!("cannot set mode and time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_times_do_not_come_from_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, "x").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o600)).unwrap();
        copy(&from, &to, 0o755).unwrap();
        let facts = fs::metadata(&to).unwrap();
        assert_eq!(facts.permissions().mode() & 0o7777, 0o755);
        assert_eq!(facts.modified().unwrap(), SystemTime::UNIX_EPOCH + Duration::from_secs(MOMENT));
    }
}
