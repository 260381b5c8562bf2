//! PostgreSQL beside the bed: a process of the machine on the node's address, with TLS, so that pods reach it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use keyrealm_testkit::{Lifetime, PostgresServer};

use super::layout::{Layout, NODE_ADDRESS};
use super::process::Daemon;

const PORT: u16 = 5432;

/// Where it lies; `server.json` has the superuser's password and is what `KEYREALM_TEST_POSTGRES` names.
pub(crate) fn folder(layout: &Layout) -> PathBuf {
    layout.path("postgres")
}

/// Makes its folder, and the program that runs it.
///
/// # Errors
/// Where PostgreSQL is not installed, or with what it said.
pub(crate) fn daemon(layout: &Layout) -> Result<Daemon> {
    let prepared = PostgresServer::prepare(&folder(layout), NODE_ADDRESS.parse()?, PORT, Lifetime::Own);
    let (_, command) = prepared.map_err(anyhow::Error::msg)?;
    let text = |text: &std::ffi::OsStr| text.to_str().map(str::to_owned).context("an argument is not UTF-8");
    let arguments = command.get_args().map(text).collect::<Result<_>>()?;
    Ok(Daemon { name: "postgres", program: command.get_program().into(), arguments })
}

/// Whether it says so in its log.
pub(crate) fn ready(log: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.contains("ready to accept connections").then_some(()).ok_or_else(|| "it accepts no connections".to_owned())
}
