//! The resource definitions: written from the types in `crds/src`, committed, and held against them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::{root, say};

const HEADER: &str = "# Made from the types in crds/src by `cargo xtask crds`: change those, and run it again.\n";
/// What `kubectl apply` can remember of an object, in bytes: it keeps a copy in an annotation.
const MOST: usize = 256 * 1024;

/// Writes `crds/<plural>.yaml`, or compares them.
///
/// # Errors
/// When a definition is too long, a file cannot be written or, with `check`, when one differs.
pub(crate) fn run(check: bool) -> Result<()> {
    for (path, text) in files()? {
        if fs::read_to_string(&path).unwrap_or_default() == text {
            continue;
        }
        if check {
            bail!("{} is not what the types say; run: cargo xtask crds", path.display());
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// Each definition's file with what it must hold.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for definition in ::crds::definitions() {
        let path = root().join("crds").join(format!("{}.yaml", definition.spec.names.plural));
        let text = serde_yaml::to_string(&definition).with_context(|| format!("cannot write {}", path.display()))?;
        let text = format!("{HEADER}{text}");
        if text.len() >= MOST {
            bail!("{} has {} bytes: `kubectl apply` takes less than {MOST}", path.display(), text.len());
        }
        files.push((path, text));
    }
    Ok(files)
}
