//! Reading and merging the sources.

use std::fs;
use std::path::{Path, PathBuf};

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
    /// The environment, as `std::env::vars` gives it.
    pub environment: Vec<(String, String)>,
    /// Settings from flags, by the path of their key.
    pub flags: Vec<(&'static str, Value)>,
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
    for (name, value) in environment(sources) {
        let refuse = |reason: String| ConfigError::Environment { name: name.clone(), reason };
        let path = variable_path(&name, sources.product).ok_or_else(|| refuse("is not a setting's name".to_owned()))?;
        // YAML's reading of one value: numbers and booleans as such, everything else as text.
        let typed = serde_yaml::from_str(&value).unwrap_or(Value::String(value.clone()));
        let before = merged.clone();
        set(&mut merged, &path, typed);
        if let Err(first) = check::<T>(&merged) {
            // A password of digits is text all the same.
            merged = before;
            set(&mut merged, &path, Value::String(value));
            check::<T>(&merged).map_err(|_| refuse(first))?;
        }
    }
    for (key, value) in &sources.flags {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        set(&mut merged, &path, value.clone());
    }
    serde_path_to_error::deserialize(merged).map_err(|error| ConfigError::Invalid(vec![error.to_string()]))
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

fn environment(sources: &Sources<'_>) -> Vec<(String, String)> {
    let prefix = prefix(sources.product);
    let mut own: Vec<_> = sources.environment.iter().filter(|(name, _)| name.starts_with(&prefix)).cloned().collect();
    own.sort();
    own
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

    fn with(
        texts: &[&str],
        environment: &[(&str, &str)],
        flags: Vec<(&'static str, Value)>,
    ) -> Result<Config, ConfigError> {
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
        load(&Sources { product: "kms", files: &files, environment, flags })
    }

    #[test]
    fn flags_over_environment_over_files_over_defaults() {
        let files = ["server: {port: 2, host: one}", "server: {host: two}"];
        let config = with(&files, &[], vec![]).unwrap();
        assert_eq!(config.server, Server { port: 2, host: "two".into() });
        let environment =
            [("KEYREALM_KMS__SERVER__PORT", "3"), ("KEYREALM_KMS__NAME", "0123"), ("KEYREALM_IDENTITY__X", "y")];
        let config = with(&files, &environment, vec![("server.host", "flag".into())]).unwrap();
        assert_eq!(config.server, Server { port: 3, host: "flag".into() });
        assert_eq!(config.name.as_deref(), Some("0123"), "text stays as it was written");
        assert_eq!(with(&[""], &[], vec![]).unwrap(), Config::default());
    }

    /// Unknown keys and wrong types name file, key and line (KMS-17).
    #[test]
    fn mistakes_have_a_place() {
        let unknown = with(&["server:\n  port: 2\n  prot: 3\n"], &[], vec![]).unwrap_err().to_string();
        assert!(unknown.contains("0.yml") && unknown.contains("prot") && unknown.contains("line 3"), "{unknown}");
        let wrong = with(&["server: {port: high}"], &[], vec![]).unwrap_err().to_string();
        assert!(wrong.contains("server.port") && wrong.contains("line 1"), "{wrong}");
        let variable = with(&[], &[("KEYREALM_KMS__SERVER__PROT", "3")], vec![]).unwrap_err().to_string();
        assert!(variable.contains("KEYREALM_KMS__SERVER__PROT") && variable.contains("prot"), "{variable}");
        assert!(with(&[], &[("KEYREALM_KMS____PORT", "3")], vec![]).is_err());
        let missing =
            Sources { product: "kms", files: &["/nowhere/kms.yml".into()], environment: vec![], flags: vec![] };
        assert!(load::<Config>(&missing).unwrap_err().to_string().contains("/nowhere/kms.yml"));
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
