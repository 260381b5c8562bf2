//! Reading and writing key files: 0600, atomically, refused when others can get at them.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

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
    if let Some((reason, mend)) = owner.refusal() {
        return Err(TlsError::Permissions { path: path.to_owned(), reason, mend });
    }
    read_bounded(file, metadata.len()).map(SecretBytes::new).map_err(file_error(path))
}

/// Reads a public file.
///
/// # Errors
/// When it cannot be read or is longer than 1 MiB.
pub(crate) fn read_public(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = File::open(path).map_err(file_error(path))?;
    let length = file.metadata().map_err(file_error(path))?.len();
    read_bounded(file, length).map_err(file_error(path))
}

/// `length` is what to expect: the bytes of a secret are then never moved by growth.
fn read_bounded(file: File, length: u64) -> std::io::Result<Vec<u8>> {
    let expected = usize::try_from(length.min(MAX_FILE)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected + 1);
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE { Err(std::io::Error::other("longer than 1 MiB")) } else { Ok(bytes) }
}

struct Ownership {
    mode: u32,
    uid: u32,
    own_uid: u32,
    in_group: bool,
}

impl Ownership {
    /// Why the file lies open, and the command that closes it.
    fn refusal(&self) -> Option<(String, String)> {
        let mode = self.mode & 0o777;
        // First of all: whoever owns the file can open it again.
        if self.uid != 0 && self.uid != self.own_uid {
            let reason =
                format!("its owner (uid {}) is neither root nor this process (uid {})", self.uid, self.own_uid);
            return Some((reason, format!("chown {}", self.own_uid)));
        }
        let reason = if self.mode & 0o007 != 0 {
            format!("others can use this private file (mode {mode:o})")
        } else if self.mode & 0o020 != 0 {
            format!("its group can write this private file (mode {mode:o})")
        } else if self.mode & 0o040 != 0 && !self.in_group {
            format!("a group that this process is not in can read this private file (mode {mode:o})")
        } else {
            return None;
        };
        // A file of root's is read through its group, where there is one in common.
        let shared = self.uid != self.own_uid && self.in_group;
        Some((reason, if shared { "chmod 640" } else { "chmod 600" }.to_owned()))
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
    // Threads of one process may write the same file.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_file_name(format!(".{name}.{}.{number}.new", std::process::id()));
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
    fn the_mend_fits_the_refusal() {
        let mend = |mode, uid, own_uid, in_group| Ownership { mode, uid, own_uid, in_group }.refusal().unwrap().1;
        assert_eq!(mend(0o644, 1000, 1000, true), "chmod 600");
        assert_eq!(mend(0o600, 2000, 1000, true), "chown 1000", "no mode mends a foreign owner");
        assert_eq!(mend(0o644, 2000, 0, true), "chown 0");
        assert_eq!(mend(0o644, 0, 1000, true), "chmod 640", "600 would lock this process out");
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
        assert!(
            refused.contains("mode 644") && refused.contains(&format!("chmod 600 {}", path.display())),
            "{refused}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written stays");
        assert!(write_private(&folder.path().join("none/key"), b"x").is_err());
    }

    #[test]
    fn one_file_written_by_many_threads_is_always_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let write = |byte: u8| (0..50).try_for_each(|_| write_private(&path, &[byte; 64]));
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4).map(|byte| scope.spawn(move || write(byte).is_ok())).collect();
            assert!(writers.into_iter().all(|writer| writer.join().unwrap()));
        });
        let content = read_private(&path).ok().unwrap();
        assert!(content.expose().len() == 64 && content.expose().windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn endless_files_are_not_read_to_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let length = usize::try_from(MAX_FILE).unwrap();
        write_private(&path, &vec![b'x'; length]).unwrap();
        assert!(read_public(&path).is_ok() && read_private(&path).is_ok());
        write_private(&path, &vec![b'x'; length + 1]).unwrap();
        assert!(read_public(&path).unwrap_err().to_string().contains("1 MiB") && read_private(&path).is_err());
        assert!(read_public(Path::new("/dev/zero")).is_err());
    }
}
