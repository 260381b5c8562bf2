//! The PostgreSQL base: the Debian tree without what no server needs, its account and folders as in the official image.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result};

/// What is taken out, as paths of the tree: package lists, pages to read, the JIT compiler (the server does without it
/// by itself), and the cluster that the package makes.
pub(super) const WITHOUT: &[&str] = &[
    "dev",
    "proc",
    "sys",
    "run",
    "boot",
    "debootstrap",
    "etc/hostname",
    "etc/postgresql",
    "etc/resolv.conf",
    "usr/lib/postgresql/15/lib/bitcode",
    "usr/lib/postgresql/15/lib/llvmjit.so",
    "usr/lib/postgresql/15/lib/llvmjit_types.bc",
    "usr/lib/x86_64-linux-gnu/libLLVM-14.so.1",
    "usr/lib/aarch64-linux-gnu/libLLVM-14.so.1",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "var/lib/postgresql",
    "var/log",
];

/// The official image's number of the account `postgres`.
const ACCOUNT: u32 = 999;

/// Makes the tree small and puts in what the official image has.
///
/// # Errors
/// When the tree has another form than Debian's.
pub(super) fn trim(tree: &Path) -> Result<()> {
    for path in WITHOUT.iter().map(|path| tree.join(path)) {
        let gone = match fs::symlink_metadata(&path) {
            Ok(facts) if facts.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        gone.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    documents(&tree.join("usr/share/doc"))?;
    for file in ["etc/passwd", "etc/group"] {
        let path = tree.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, renumbered(&text)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // The usual folders of a system, empty: the engine mounts over them.
    for folder in
        ["dev", "proc", "sys", "run", "var/log", "var/cache/apt", "var/lib/apt/lists", "docker-entrypoint-initdb.d"]
    {
        make_folder(&tree.join(folder), 0o755, 0)?;
    }
    make_folder(&tree.join("var/lib/postgresql"), 0o755, ACCOUNT)?;
    make_folder(&tree.join("var/lib/postgresql/data"), 0o700, ACCOUNT)?;
    make_folder(&tree.join("run/postgresql"), 0o2775, ACCOUNT)?;
    make_folder(&tree.join("tmp"), 0o1777, 0)
}

/// Of the documents the licences stay.
fn documents(folder: &Path) -> Result<()> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else if !is_licence(&path) {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn is_licence(path: &Path) -> bool {
    // A link may stand for the folder of another package.
    path.is_symlink() || path.file_name().is_some_and(|name| name == "copyright")
}

/// The account's lines with its official numbers.
fn renumbered(text: &str) -> String {
    let line = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if fields.first().is_some_and(|name| name == "postgres") {
            // name:x:uid:gid:... in passwd, name:x:gid:members in group.
            let numbers = if fields.len() > 4 { 2..4 } else { 2..3 };
            for field in fields.get_mut(numbers).unwrap_or_default() {
                *field = ACCOUNT.to_string();
            }
        }
        fields.join(":")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn make_folder(path: &Path, mode: u32, owner: u32) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| chown(path, Some(owner), Some(owner)))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_has_the_official_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:100:102:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        let expected = "root:x:0:0:root:/root:/bin/bash\npostgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(renumbered(passwd), expected);
        let group = "ssl-cert:x:101:postgres\npostgres:x:102:\n";
        assert_eq!(renumbered(group), "ssl-cert:x:101:postgres\npostgres:x:999:\n");
    }
}
