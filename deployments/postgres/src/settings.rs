//! What the environment and the arguments say.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const NO_PASSWORD: &str = "the data folder is empty and there is no password for the superuser: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE";

/// The environment, read.
pub(crate) struct Settings {
    pub(crate) user: String,
    pub(crate) database: String,
    /// Needed on the first start only.
    pub(crate) password: Option<String>,
    pub(crate) data: PathBuf,
    pub(crate) initdb: Vec<String>,
    /// How callers from elsewhere prove who they are, as in `pg_hba.conf`.
    pub(crate) method: String,
}

impl Settings {
    /// Reads them by name.
    ///
    /// # Errors
    /// When a variable is given twice or its file cannot be read.
    pub(crate) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let user = value(variable, "POSTGRES_USER")?.unwrap_or_else(|| "postgres".to_owned());
        let initdb = value(variable, "POSTGRES_INITDB_ARGS")?.unwrap_or_default();
        let method = value(variable, "POSTGRES_HOST_AUTH_METHOD")?.unwrap_or_else(|| "scram-sha-256".to_owned());
        if method.split_whitespace().count() != 1 {
            bail!("POSTGRES_HOST_AUTH_METHOD is not one word: {method:?}");
        }
        Ok(Self {
            database: value(variable, "POSTGRES_DB")?.unwrap_or_else(|| user.clone()),
            password: value(variable, "POSTGRES_PASSWORD")?,
            data: variable("PGDATA").unwrap_or_else(|| "/var/lib/postgresql/data".to_owned()).into(),
            initdb: initdb.split_whitespace().map(str::to_owned).collect(),
            method,
            user,
        })
    }
}

/// A variable, or the content of the file that `<name>_FILE` names; empty counts as not set.
fn value(variable: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<String>> {
    let plain = variable(name).filter(|value| !value.is_empty());
    let file = variable(&format!("{name}_FILE")).filter(|file| !file.is_empty());
    match (plain, file) {
        (Some(_), Some(_)) => bail!("{name} and {name}_FILE are both set: give one"),
        (None, Some(file)) => {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file} ({name}_FILE)"))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|value| !value.is_empty()))
        }
        (plain, None) => Ok(plain),
    }
}

/// What this process becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
}

/// Flags are for `postgres`; another word is a command of its own.
pub(crate) fn command(arguments: Vec<String>) -> Run {
    let mut arguments = arguments.into_iter().peekable();
    let program = arguments.next_if(|first| !first.starts_with('-')).unwrap_or_else(|| "postgres".to_owned());
    Run { program, arguments: arguments.collect() }
}

impl Run {
    /// Whether it is the server, and not a question to its program.
    pub(crate) fn serves(&self) -> bool {
        let asks = ["--version", "-V", "--help", "-?", "--describe-config", "-C"];
        self.program == "postgres" && !self.arguments.iter().any(|argument| asks.contains(&argument.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(&|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_defaults_are_those_of_the_official_image() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.user.as_str(), settings.database.as_str()), ("postgres", "postgres"));
        assert_eq!(settings.data, PathBuf::from("/var/lib/postgresql/data"));
        assert_eq!(settings.method, "scram-sha-256");
        assert!(settings.password.is_none() && settings.initdb.is_empty());
        assert_eq!(read(&[("POSTGRES_USER", "app")]).unwrap().database, "app");
    }

    #[test]
    fn a_password_comes_from_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "two words\n").unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(read(&[("POSTGRES_PASSWORD_FILE", file)]).unwrap().password.as_deref(), Some("two words"));
        let both = read(&[("POSTGRES_PASSWORD_FILE", file), ("POSTGRES_PASSWORD", "x")]);
        assert!(both.err().unwrap().to_string().contains("both set"));
        let missing = read(&[("POSTGRES_PASSWORD_FILE", "/nowhere")]).err().unwrap();
        assert!(format!("{missing:#}").contains("/nowhere (POSTGRES_PASSWORD_FILE)"));
    }

    #[test]
    fn flags_go_to_the_server_and_commands_run() {
        let run = |line: &str| command(line.split_whitespace().map(str::to_owned).collect());
        assert_eq!(run(""), Run { program: "postgres".into(), arguments: vec![] });
        assert_eq!(run("-c ssl=on").arguments, ["-c", "ssl=on"]);
        assert!(run("-c ssl=on").serves() && run("postgres -c ssl=on").serves());
        assert_eq!(run("psql -l").program, "psql");
        assert!(!run("psql").serves() && !run("postgres --version").serves());
    }
}
