//! The runtime base: a few packages of a Debian tree, no shell, an account that is not root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a Rust binary needs of a system; gcc-12-base holds the licence of libgcc.
pub(super) const PACKAGES: &[&str] = &["base-files", "gcc-12-base", "libc6", "libgcc-s1", "netbase", "tzdata"];

/// The account of the images, as in the public base.
const ACCOUNT: u32 = 65532;

/// Copies the packages' files from the tree, with the bundle of public roots and the licences.
///
/// # Errors
/// When the tree has another form than Debian's.
pub(super) fn cut(tree: &Path, into: &Path) -> Result<()> {
    let status = read(&tree.join("var/lib/dpkg/status"))?;
    let mut wanted = BTreeSet::from([PathBuf::from("etc/ssl/certs/ca-certificates.crt")]);
    let info = tree.join("var/lib/dpkg/info");
    for package in PACKAGES {
        let own = info.join(format!("{package}.list"));
        let list = if own.is_file() { own } else { foreign_list(&info, package)? };
        wanted.extend(read(&list)?.lines().filter_map(wanted_path));
        let described = stanza(&status, package).with_context(|| format!("{package} is not installed in the tree"))?;
        // Where scanners look for packages in images without a package manager.
        put(into, &format!("var/lib/dpkg/status.d/{package}"), described, 0o644)?;
    }
    make_folder(into, 0o755)?;
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin")] {
        symlink(target, into.join(link)).with_context(|| format!("cannot make the link {link}"))?;
    }
    for path in &wanted {
        copy(tree, into, path)?;
    }
    let account = format!(
        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{ACCOUNT}:{ACCOUNT}:nonroot:/home/nonroot:/sbin/nologin\n"
    );
    put(into, "etc/passwd", &account, 0o644)?;
    put(into, "etc/group", &format!("root:x:0:\nnonroot:x:{ACCOUNT}:\n"), 0o644)?;
    put(into, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", 0o644)?;
    let home = into.join("home/nonroot");
    make_folder(&home, 0o700)?;
    chown(&home, Some(ACCOUNT), Some(ACCOUNT)).context("cannot give the home folder to its account")?;
    make_folder(&into.join("tmp"), 0o1777)
}

/// A package's list of files under its architecture's name.
fn foreign_list(info: &Path, package: &str) -> Result<PathBuf> {
    let prefix = format!("{package}:");
    let entries = fs::read_dir(info).with_context(|| format!("cannot read {}", info.display()))?;
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&prefix) && name.ends_with(".list")
    });
    found.with_context(|| format!("{package} is not installed in the tree"))
}

/// A line of a package's list as a path in the image, if the image takes it.
fn wanted_path(line: &str) -> Option<PathBuf> {
    let path = line.trim_start_matches("/.").trim_start_matches('/');
    if path.is_empty() {
        return None;
    }
    // The tree's /lib and the like are links into /usr.
    let merged = ["bin", "lib", "lib64", "sbin"]
        .iter()
        .any(|top| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let path = if merged { format!("usr/{path}") } else { path.to_owned() };
    let left_out =
        ["usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/zoneinfo/right"];
    let documents = path.starts_with("usr/share/doc/") && path.ends_with(".gz");
    let converters = path.contains("/gconv");
    let taken = !documents && !converters && !left_out.iter().any(|folder| path.starts_with(folder));
    taken.then(|| PathBuf::from(path))
}

/// The part of dpkg's status that describes the package.
fn stanza<'a>(status: &'a str, package: &str) -> Option<&'a str> {
    status.split("\n\n").find(|part| part.lines().next() == Some(&format!("Package: {package}")))
}

fn copy(tree: &Path, into: &Path, path: &Path) -> Result<()> {
    let (from, to) = (tree.join(path), into.join(path));
    let what = || format!("cannot copy {} of the tree", path.display());
    // A list may name what its package's scripts moved.
    let Ok(facts) = fs::symlink_metadata(&from) else { return Ok(()) };
    if facts.is_dir() {
        return make_folder(&to, facts.permissions().mode());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(what)?;
    }
    if facts.is_symlink() {
        symlink(fs::read_link(&from).with_context(what)?, &to).with_context(what)
    } else {
        fs::copy(&from, &to).map(|_| ()).with_context(what)
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot make {}", path.display()))
}

fn put(into: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let path = into.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&path, format!("{}\n", text.trim_end()))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_lie_below_usr_and_documents_stay_out() {
        let taken = |line| wanted_path(line).map(|path| path.display().to_string());
        assert_eq!(taken("/lib/x86_64-linux-gnu/libc.so.6").as_deref(), Some("usr/lib/x86_64-linux-gnu/libc.so.6"));
        assert_eq!(taken("/lib64").as_deref(), Some("usr/lib64"));
        assert_eq!(taken("/usr/share/doc/libc6/copyright").as_deref(), Some("usr/share/doc/libc6/copyright"));
        assert_eq!(taken("/etc/os-release").as_deref(), Some("etc/os-release"));
        for left in
            ["/.", "/usr/share/doc/libc6/NEWS.gz", "/usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", "/usr/share/man"]
        {
            assert_eq!(taken(left), None, "{left}");
        }
    }

    #[test]
    fn a_package_is_described_by_its_own_stanza() {
        let status = "Package: libc6\nVersion: 2\n\nPackage: libc6-dev\nVersion: 3\n";
        assert_eq!(stanza(status, "libc6"), Some("Package: libc6\nVersion: 2"));
        assert_eq!(stanza(status, "libc"), None);
    }
}
