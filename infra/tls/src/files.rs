//! Reading and writing key files: 0600, atomically, refused when others can get at them.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use keyrealm_crypto::SecretBytes;
use rustix::process::{getegid, geteuid, getgroups};

use crate::TlsError;

/// More is no certificate, key or unseal file.
const MAX_FILE: u64 = 1024 * 1024;

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> TlsError + '_ {
    |source| TlsError::File { path: path.to_owned(), source }
}

/// Reads a private file, after a look at who else can.
///
/// # Errors
/// When it cannot be read, is longer than 1 MiB, or when others can read or write it, a group can write it, a group
/// that the process is not in can read it, or its owner is neither root nor the process.
pub fn read_private(path: &Path) -> Result<SecretBytes, TlsError> {
    let file = File::open(path).map_err(file_error(path))?;
    // Of the open file, so that it cannot be another one by the time it is read.
    let metadata = file.metadata().map_err(file_error(path))?;
    let groups = getgroups().unwrap_or_default();
    let owner = Ownership {
        mode: metadata.mode(),
        uid: metadata.uid(),
        own_uid: geteuid().as_raw(),
        in_group: getegid().as_raw() == metadata.gid() || groups.iter().any(|group| group.as_raw() == metadata.gid()),
    };
    if let Some(reason) = owner.refusal() {
        return Err(TlsError::Permissions { path: path.to_owned(), reason });
    }
    let length = usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(file_error(path))?;
    let bytes = SecretBytes::new(bytes);
    if bytes.expose().len() as u64 > MAX_FILE {
        return Err(file_error(path)(std::io::Error::other("longer than 1 MiB")));
    }
    Ok(bytes)
}

struct Ownership {
    mode: u32,
    uid: u32,
    own_uid: u32,
    in_group: bool,
}

impl Ownership {
    fn refusal(&self) -> Option<String> {
        let mode = self.mode & 0o777;
        if self.mode & 0o007 != 0 {
            Some(format!("others can use this private file (mode {mode:o})"))
        } else if self.mode & 0o020 != 0 {
            Some(format!("its group can write this private file (mode {mode:o})"))
        } else if self.mode & 0o040 != 0 && !self.in_group {
            Some(format!("a group that this process is not in can read this private file (mode {mode:o})"))
        } else if self.uid != 0 && self.uid != self.own_uid {
            Some(format!("its owner (uid {}) is neither root nor this process (uid {})", self.uid, self.own_uid))
        } else {
            None
        }
    }
}

/// Writes a private file with mode 0600, whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), TlsError> {
    write(path, content, 0o600)
}

/// Writes a public file with mode 0644, whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), TlsError> {
    write(path, content, 0o644)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let result = (|| {
        // A file left by a crash may have another mode.
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        // The process' umask must not decide.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    result.map_err(|source| {
        let _ = fs::remove_file(&beside);
        file_error(path)(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_for_private_files() {
        let file = |mode, uid, own_uid, in_group| Ownership { mode, uid, own_uid, in_group }.refusal().is_none();
        assert!(file(0o100_600, 1000, 1000, true) && file(0o100_400, 0, 1000, false));
        assert!(file(0o100_440, 0, 1000, true), "a pod's Secret with fsGroup");
        assert!(!file(0o100_440, 0, 1000, false), "a group that we are not in");
        assert!(!file(0o100_460, 1000, 1000, true), "a group that can write");
        assert!(!file(0o100_604, 1000, 1000, true) && !file(0o100_602, 1000, 1000, true));
        assert!(!file(0o100_600, 2000, 1000, true), "somebody else's file");
    }

    #[test]
    fn written_private_files_read_back_and_open_ones_are_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(read_private(&path).ok().unwrap().expose(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = read_private(&path).err().unwrap().to_string();
        assert!(refused.contains("mode 644") && refused.contains("chmod 600"), "{refused}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written stays");
        assert!(write_private(&folder.path().join("none/key"), b"x").is_err());
    }
}
