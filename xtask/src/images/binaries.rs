//! The programs that go into the images: compiled here, or handed in as a folder.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::plan::IMAGES;
use crate::command::{cargo, output, root, run};
use crate::space;

/// A release build of the workspace from nothing.
const SPACE: u64 = 3 * 1024;

/// The folder with all programs.
///
/// # Errors
/// When one cannot be compiled, or a folder that was handed in lacks one.
pub(crate) fn folder(given: Option<&Path>) -> Result<PathBuf> {
    let folder = match given {
        Some(given) => given.to_path_buf(),
        None => compile()?,
    };
    for image in IMAGES {
        check(&folder.join(image.binary), given.is_some())?;
    }
    Ok(folder)
}

fn compile() -> Result<PathBuf> {
    let target = target_folder()?;
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    space::require(&target, SPACE, "a release build")?;
    let mut arguments = vec!["build", "--release", "--locked"];
    for image in IMAGES {
        arguments.extend(["--package", image.package]);
    }
    run("release build of the images' programs", &mut cargo(&arguments))?;
    Ok(target.join("release"))
}

fn target_folder() -> Result<PathBuf> {
    let text = output("cargo metadata", &mut cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(folder.map_or_else(|| root().join("target"), PathBuf::from))
}

/// A program for Linux is there.
fn check(path: &Path, handed_in: bool) -> Result<()> {
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    let mend = if handed_in {
        let programs: Vec<&str> = IMAGES.iter().map(|image| image.binary).collect();
        format!("--binaries wants a folder with {} (cargo build --release)", programs.join(", "))
    } else {
        "run again".to_owned()
    };
    read.with_context(|| format!("cannot read the program {}; {mend}", path.display()))?;
    if &magic != b"\x7fELF" {
        bail!("{} is not a program for Linux; {mend}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_in_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("kms");
        let error = format!("{:#}", check(&program, true).unwrap_err());
        assert!(error.contains("--binaries wants a folder"), "{error}");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        assert!(check(&program, true).unwrap_err().to_string().contains("not a program for Linux"));
        fs::write(&program, b"\x7fELF and more").unwrap();
        check(&program, true).unwrap();
    }
}
