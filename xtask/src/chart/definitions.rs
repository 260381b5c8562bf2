//! The chart's copy of the resource definitions: Helm packs what lies below the chart, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{root, say};

/// The definitions as they are generated.
const SOURCE: &str = "crds";
/// Where the chart reads them. Not `charts/keyrealm/crds`: Helm installs what lies there once and never upgrades it.
const COPY: &str = "charts/keyrealm/files/crds";

/// Makes the chart's definitions those of `crds/`, or compares them.
///
/// # Errors
/// When a file cannot be read or written or, with `check`, when the two differ.
pub(crate) fn sync(check: bool) -> Result<()> {
    copy(&root().join(SOURCE), &root().join(COPY), check)
}

fn copy(source: &Path, target: &Path, check: bool) -> Result<()> {
    let (wanted, there) = (read(source)?, read(target)?);
    if wanted == there {
        return Ok(());
    }
    if check {
        let names: Vec<&str> = wanted
            .keys()
            .chain(there.keys().filter(|name| !wanted.contains_key(*name)))
            .filter(|name| wanted.get(*name) != there.get(*name))
            .map(String::as_str)
            .collect();
        bail!("{} differs from {SOURCE}/ in {}; run: cargo xtask crds", target.display(), names.join(", "));
    }
    fs::create_dir_all(target).with_context(|| format!("cannot make {}", target.display()))?;
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        let path = target.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        say(&format!("removed {}", path.display()));
    }
    for (name, text) in wanted.iter().filter(|(name, text)| there.get(*name) != Some(text)) {
        let path = target.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// The YAML files of a folder by name; of a folder that is not there, none.
fn read(folder: &Path) -> Result<BTreeMap<String, String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".yaml"));
        if let Some(name) = name {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(name.to_owned(), text);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_becomes_the_source_and_a_difference_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("crds"), folder.path().join("copy"));
        copy(&source, &target, true).unwrap();
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(&target).unwrap();
        fs::write(source.join("a.yaml"), "new").unwrap();
        fs::write(source.join("mod.rs"), "not a definition").unwrap();
        fs::write(source.join("b.yaml"), "same").unwrap();
        for (name, text) in [("a.yaml", "old"), ("b.yaml", "same"), ("gone.yaml", "x")] {
            fs::write(target.join(name), text).unwrap();
        }
        let error = copy(&source, &target, true).unwrap_err().to_string();
        assert!(error.contains("in a.yaml, gone.yaml; run: cargo xtask crds"), "{error}");
        copy(&source, &target, false).unwrap();
        let expected = [("a.yaml", "new"), ("b.yaml", "same")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(read(&target).unwrap(), BTreeMap::from(expected));
        copy(&source, &target, true).unwrap();
    }
}
