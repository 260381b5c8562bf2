//! The first process of the image `keyrealm/postgres`: makes the database on the first start, then becomes the server.
//!
//! Its environment is that of the official image: `POSTGRES_USER`, `POSTGRES_DB`, `POSTGRES_PASSWORD` (each also as
//! `..._FILE`), `POSTGRES_INITDB_ARGS`, `POSTGRES_HOST_AUTH_METHOD`, `PGDATA`; arguments that start with `-` go to
//! `postgres`, any other command is run instead.

mod first_start;
mod initdb;
mod settings;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

use crate::settings::Settings;

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::print_stderr, reason = "what it does is for the container's log")]
fn complain(text: &str) {
    eprintln!("postgres-entrypoint: {text}");
}

fn run() -> Result<std::convert::Infallible> {
    let command = settings::command(std::env::args().skip(1).collect());
    if command.serves() {
        prepare()?;
    }
    // The server takes over this process and with it the container's signals. exec sets handlers back.
    let error = Command::new(&command.program).args(&command.arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", command.program))
}

/// Sees to it that there is a database.
fn prepare() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        bail!("PostgreSQL does not run as root; run as the image's account (999), not as 0");
    }
    // A first process has no default for signals: without this a stop would wait until the kill.
    let always = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGQUIT, SIGTERM] {
        register_conditional_shutdown(signal, 128 + signal, Arc::clone(&always))
            .context("cannot listen for signals")?;
    }
    let settings = Settings::read(&|name| std::env::var(name).ok())?;
    if first_start::is_needed(&settings.data)? {
        let password = settings.password.clone().with_context(|| settings::NO_PASSWORD)?;
        first_start::run(&settings, &password)?;
    }
    Ok(())
}
