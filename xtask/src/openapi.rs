//! The OpenAPI documents: written from the code, committed, and held against it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, output, root, say};

/// The products that have a document.
const PRODUCTS: &[&str] = &["kms", "identity"];

/// Where a product's document lies.
pub(crate) fn paths() -> impl Iterator<Item = PathBuf> {
    PRODUCTS.iter().map(|product| root().join("docs/openapi").join(format!("{product}.json")))
}

/// Writes the documents, or compares them.
///
/// # Errors
/// When a product cannot be built or, with `check`, when a document differs.
pub(crate) fn run(check: bool) -> Result<()> {
    for (product, path) in PRODUCTS.iter().zip(paths()) {
        let text = output(product, &mut cargo(&["run", "--quiet", "--package", product, "--", "openapi"]))?;
        let old = fs::read_to_string(&path).unwrap_or_default();
        if old == text {
            continue;
        }
        if check {
            bail!("{} is not what the code says; run: cargo xtask openapi", path.display());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}
