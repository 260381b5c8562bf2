//! A tar file of the images, for a cluster's node.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::engine::Engine;
use crate::command::run;
use crate::{need, space};

/// Room for the tar file of all images.
const SPACE: u64 = 1024;

/// Where it lies.
///
/// # Errors
/// When there is no tool cache.
fn tar() -> Result<PathBuf> {
    Ok(need::cache()?.join("images/keyrealm.tar"))
}

/// Writes the images to [`tar`].
///
/// # Errors
/// When the disk is full or the engine fails; then the file is as before.
pub(crate) fn save(engine: &Engine, references: &[String]) -> Result<PathBuf> {
    let tar = tar()?;
    let half = tar.with_extension("half");
    space::require(tar.parent().unwrap_or(&tar), SPACE, "the tar file of the images")?;
    run("docker save", engine.docker(["save", "--output"]).arg(&half).args(references))?;
    fs::rename(&half, &tar).with_context(|| format!("cannot name {}", tar.display()))?;
    Ok(tar)
}
