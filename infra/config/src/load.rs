//! Reading and merging the sources.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A configuration that cannot be used: what is wrong, where, and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// A file holds a key that nobody knows, or a value of a wrong type.
    #[error("{path}: {key}: {reason}", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The path of the key.
        key: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// An environment variable is not one of the settings.
    #[error("environment variable {name}: {reason}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A flag is not one of the settings.
    #[error("--set {key}: {reason}")]
    Flag {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Values that do not go together.
    #[error("the configuration cannot be used:\n{}", .0.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<String>),
}

/// Where settings come from.
pub struct Sources<'a> {
    /// `kms` or `identity`.
    pub product: &'a str,
    /// The files given by `--config`, the later over the earlier; none for the standard places.
    pub files: &'a [PathBuf],
    /// The environment, as [`environment`] gives it.
    pub environment: Vec<(String, String)>,
    /// Settings from flags.
    pub flags: Vec<Setting>,
}

/// A setting from a flag: `--set server.public.address=0.0.0.0:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    key: String,
    value: String,
}

/// A text that is no setting.
#[derive(Debug, thiserror::Error)]
#[error("give key=value, such as server.public.address=0.0.0.0:8080")]
pub struct SettingError;

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (key, value) = text.split_once('=').ok_or(SettingError)?;
        let well_formed = key.split('.').all(|part| !part.is_empty());
        if well_formed { Ok(Self { key: key.to_owned(), value: value.to_owned() }) } else { Err(SettingError) }
    }
}

/// The environment of this process, for a product.
///
/// # Errors
/// When a variable of the product is not UTF-8; others that are not do not matter.
pub fn environment(product: &str) -> Result<Vec<(String, String)>, ConfigError> {
    readable(std::env::vars_os(), product)
}

fn readable(
    variables: impl Iterator<Item = (OsString, OsString)>,
    product: &str,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut readable = Vec::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => readable.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with(&own(product)) => {
                return Err(ConfigError::Environment { name, reason: "the value is not UTF-8".to_owned() });
            }
            _ => {}
        }
    }
    Ok(readable)
}

/// Loads a configuration.
///
/// # Errors
/// When a source cannot be read, or holds something that is no setting.
pub fn load<T: Default + Serialize + DeserializeOwned>(sources: &Sources<'_>) -> Result<T, ConfigError> {
    let mut merged = to_value(&T::default());
    for path in files(sources) {
        let text = fs::read_to_string(&path)
            .map_err(|error| ConfigError::File { path: path.clone(), reason: error.to_string() })?;
        if text.trim().is_empty() {
            continue;
        }
        merge(&mut merged, read_file::<T>(&path, &text)?);
    }
    for (name, value) in variables(sources) {
        let refuse = |reason: String| ConfigError::Environment { name: name.clone(), reason };
        let path = variable_path(&name, sources.product).ok_or_else(|| {
            let prefix = prefix(sources.product);
            refuse(format!("is no setting: those begin with {prefix} and have __ between the parts of the key"))
        })?;
        place::<T>(&mut merged, &path, &value).map_err(refuse)?;
    }
    for flag in &sources.flags {
        let path: Vec<String> = flag.key.split('.').map(str::to_owned).collect();
        let refuse = |reason| ConfigError::Flag { key: flag.key.clone(), reason };
        place::<T>(&mut merged, &path, &flag.value).map_err(refuse)?;
    }
    serde_path_to_error::deserialize(merged).map_err(|error| ConfigError::Invalid(vec![error.to_string()]))
}

/// Sets one value by YAML's reading of it: numbers and booleans as such, everything else as text.
fn place<T: DeserializeOwned>(merged: &mut Value, path: &[String], text: &str) -> Result<(), String> {
    let plain = Value::String(text.to_owned());
    let before = merged.clone();
    set(merged, path, serde_yaml::from_str(text).unwrap_or_else(|_| plain.clone()));
    let Err(first) = check::<T>(merged) else { return Ok(()) };
    // A password of digits is text all the same.
    *merged = before;
    set(merged, path, plain);
    check::<T>(merged).map_err(|_| first)
}

fn check<T: DeserializeOwned>(merged: &Value) -> Result<(), String> {
    serde_path_to_error::deserialize::<_, T>(merged.clone()).map(drop).map_err(|error| error.to_string())
}

fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// The file as it merges, after a strict reading of it alone: only that knows the line of a mistake.
fn read_file<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Value, ConfigError> {
    let refuse = |key: String, reason: String| ConfigError::Content { path: path.to_owned(), key, reason };
    serde_path_to_error::deserialize::<_, T>(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| refuse(error.path().to_string(), error.inner().to_string()))?;
    serde_yaml::from_str(text).map_err(|error| refuse(String::new(), error.to_string()))
}

/// The files given, or those of the standard places that exist: the system's, then the user's over it.
fn files(sources: &Sources<'_>) -> Vec<PathBuf> {
    if !sources.files.is_empty() {
        return sources.files.to_vec();
    }
    let name = format!("{}.yml", sources.product);
    let home = sources.environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
    let user = home.map(|home| home.join(".config/keyrealm").join(&name));
    [Some(Path::new("/etc/keyrealm").join(&name)), user].into_iter().flatten().filter(|path| path.is_file()).collect()
}

fn prefix(product: &str) -> String {
    format!("KEYREALM_{}__", product.to_ascii_uppercase())
}

/// How all variables begin that can be meant for the product: one `_` too few is a mistake, and not somebody else's.
fn own(product: &str) -> String {
    format!("KEYREALM_{}_", product.to_ascii_uppercase())
}

fn variables(sources: &Sources<'_>) -> Vec<(String, String)> {
    let own = own(sources.product);
    let mut found: Vec<_> = sources.environment.iter().filter(|(name, _)| name.starts_with(&own)).cloned().collect();
    found.sort();
    found
}

/// `KEYREALM_KMS__SERVER__PUBLIC__ADDRESS` is `server.public.address`.
fn variable_path(name: &str, product: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(&prefix(product))?;
    let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    path.iter().all(|part| !part.is_empty()).then_some(path)
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn set(value: &mut Value, path: &[String], new: Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = new;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(map) = value {
        set(map.entry(first.clone()).or_insert(Value::Null), rest, new);
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        server: Server,
        name: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Server {
        port: u16,
        host: String,
    }

    impl Default for Server {
        fn default() -> Self {
            Self { port: 1, host: "default".to_owned() }
        }
    }

    fn with(texts: &[&str], environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = texts
            .iter()
            .enumerate()
            .map(|(at, text)| {
                let path = folder.path().join(format!("{at}.yml"));
                fs::write(&path, text).unwrap();
                path
            })
            .collect();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let flags = flags.iter().map(|flag| flag.parse().unwrap()).collect();
        load(&Sources { product: "kms", files: &files, environment, flags })
    }

    #[test]
    fn flags_over_environment_over_files_over_defaults() {
        let files = ["server: {port: 2, host: one}", "server: {host: two}"];
        let config = with(&files, &[], &[]).unwrap();
        assert_eq!(config.server, Server { port: 2, host: "two".into() });
        let environment =
            [("KEYREALM_KMS__SERVER__PORT", "3"), ("KEYREALM_KMS__NAME", "0123"), ("KEYREALM_IDENTITY__X", "y")];
        let config = with(&files, &environment, &["server.host=flag", "server.port=4"]).unwrap();
        assert_eq!(config.server, Server { port: 4, host: "flag".into() });
        assert_eq!(config.name.as_deref(), Some("0123"), "text stays as it was written");
        assert_eq!(with(&[""], &[], &[]).unwrap(), Config::default());
    }

    /// Unknown keys and wrong types name file, key and line (KMS-17).
    #[test]
    fn mistakes_have_a_place() {
        let unknown = with(&["server:\n  port: 2\n  prot: 3\n"], &[], &[]).unwrap_err().to_string();
        assert!(unknown.contains("0.yml") && unknown.contains("prot") && unknown.contains("line 3"), "{unknown}");
        let wrong = with(&["server: {port: high}"], &[], &[]).unwrap_err().to_string();
        assert!(wrong.contains("server.port") && wrong.contains("line 1"), "{wrong}");
        let variable = with(&[], &[("KEYREALM_KMS__SERVER__PROT", "3")], &[]).unwrap_err().to_string();
        assert!(variable.contains("KEYREALM_KMS__SERVER__PROT") && variable.contains("prot"), "{variable}");
        for name in ["KEYREALM_KMS____PORT", "KEYREALM_KMS_SERVER__PORT", "KEYREALM_KMS_X"] {
            let none = with(&[], &[(name, "3")], &[]).unwrap_err().to_string();
            assert!(none.contains(name) && none.contains("begin with KEYREALM_KMS__"), "{none}");
        }
        let flag = with(&[], &[], &["server.prot=3"]).unwrap_err().to_string();
        assert!(flag.contains("--set server.prot") && flag.contains("unknown field"), "{flag}");
        for none in ["server.port", "=3", "server..port=3", ".=3"] {
            assert!(none.parse::<Setting>().is_err(), "{none}");
        }
        let missing =
            Sources { product: "kms", files: &["/nowhere/kms.yml".into()], environment: vec![], flags: vec![] };
        assert!(load::<Config>(&missing).unwrap_err().to_string().contains("/nowhere/kms.yml"));
    }

    /// Somebody's variable that is not UTF-8 does no harm; one of ours is named.
    #[test]
    fn variables_that_are_not_utf8() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(vec![b'x', 0xff]);
        let variables = [(bad(), "a".into()), ("OTHER".into(), bad()), ("KEYREALM_KMS__NAME".into(), "b".into())];
        let expected = vec![("KEYREALM_KMS__NAME".to_owned(), "b".to_owned())];
        assert_eq!(readable(variables.into_iter(), "kms").unwrap(), expected);
        let error = readable([("KEYREALM_KMS__NAME".into(), bad())].into_iter(), "kms").unwrap_err().to_string();
        assert!(error.contains("KEYREALM_KMS__NAME") && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn the_users_file_lies_over_the_systems() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".config/keyrealm")).unwrap();
        fs::write(home.path().join(".config/keyrealm/kms.yml"), "server: {port: 9}").unwrap();
        let environment = vec![("HOME".to_owned(), home.path().display().to_string())];
        let config: Config = load(&Sources { product: "kms", files: &[], environment, flags: vec![] }).unwrap();
        assert_eq!(config.server.port, 9);
    }
}
