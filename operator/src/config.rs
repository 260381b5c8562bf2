//! The operator's configuration: files, `KEYREALM_OPERATOR__A__B`, `--set a.b=c`.

use std::path::PathBuf;
use std::time::Duration;

use keyrealm_config::{ConfigError, Listener, Telemetry};
use serde::{Deserialize, Serialize};

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is looked at.
    pub watch: WatchSettings,
    /// Who works when several run.
    pub lease: LeaseSettings,
    /// Where probes and metrics are.
    pub server: ServerSettings,
    /// What pods run.
    pub images: Images,
    /// The log.
    pub telemetry: Telemetry,
    /// Who this process is; the chart sets it by the downward API.
    pub pod: Pod,
    /// A kubeconfig, when the operator runs outside of the cluster.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig.
    pub context: Option<String>,
    /// A folder of this process alone, for what its probes need.
    pub runtime_dir: PathBuf,
}

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchSettings {
    /// Namespaces, with commas between them when given as text; none for all.
    #[serde(deserialize_with = "list")]
    pub namespaces: Vec<String>,
}

impl WatchSettings {
    /// Whether what lies in this namespace is seen; where it lies may be unknown.
    #[must_use]
    pub fn covers(&self, namespace: Option<&str>) -> bool {
        self.namespaces.is_empty() || namespace.is_some_and(|name| self.namespaces.iter().any(|one| one == name))
    }
}

/// Leader election.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseSettings {
    /// Whether there is any; without it only one process may run.
    pub enabled: bool,
    /// The Lease.
    pub name: String,
    /// Its namespace; the pod's own unless given.
    pub namespace: String,
    /// A leader that was not heard of for so long is replaced.
    pub duration_seconds: u32,
    /// A leader that could not renew for so long stops.
    pub renew_seconds: u32,
    /// Between two looks.
    pub retry_seconds: u32,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            name: "keyrealm-operator".to_owned(),
            namespace: String::new(),
            duration_seconds: 15,
            renew_seconds: 10,
            retry_seconds: 2,
        }
    }
}

impl LeaseSettings {
    /// [`LeaseSettings::duration_seconds`].
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.duration_seconds.into())
    }

    /// [`LeaseSettings::renew_seconds`].
    #[must_use]
    pub fn renew(&self) -> Duration {
        Duration::from_secs(self.renew_seconds.into())
    }

    /// [`LeaseSettings::retry_seconds`].
    #[must_use]
    pub fn retry(&self) -> Duration {
        Duration::from_secs(self.retry_seconds.into())
    }
}

/// The listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Probes and metrics.
    pub admin: AdminSettings,
}

/// The admin listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// Address and port.
    pub address: String,
    /// CA certificates (PEM); who shows a client certificate of one of them reads `/metrics`, beside the process's own probes.
    pub client_ca: Option<PathBuf>,
    /// What those who come from outside are shown; a certificate of the process itself, for `localhost`, unless given.
    pub tls: AdminTls,
}

/// A certificate for the names by which the admin listener is reached: all three, or none. It is taken anew when the files
/// change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminTls {
    /// Leaf and intermediates (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM), which nobody else may read.
    pub key: PathBuf,
    /// The CA certificates (PEM) by which those outside verify it.
    pub ca: PathBuf,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { address: "0.0.0.0:9090".to_owned(), client_ca: None, tls: AdminTls::default() }
    }
}

impl AdminTls {
    fn all(&self) -> [(&'static str, &PathBuf); 3] {
        [("certificate", &self.certificate), ("key", &self.key), ("ca", &self.ca)]
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.all().iter().any(|(_, path)| !path.as_os_str().is_empty())
    }
}

/// What pods run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// The KMS.
    pub kms: String,
    /// Identity.
    pub identity: String,
    /// The managed PostgreSQL; its tag is PostgreSQL's version, as the chart's.
    pub postgres: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
}

impl Default for Images {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            kms: format!("keyrealm/kms:{version}"),
            identity: format!("keyrealm/identity:{version}"),
            postgres: "keyrealm/postgres:15".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
        }
    }
}

/// Who this process is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pod {
    /// The pod's name; the holder's name in the Lease.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watch: WatchSettings::default(),
            lease: LeaseSettings::default(),
            server: ServerSettings::default(),
            images: Images::default(),
            telemetry: Telemetry::default(),
            pod: Pod::default(),
            kubeconfig: None,
            context: None,
            runtime_dir: PathBuf::from("/run/keyrealm"),
        }
    }
}

impl Settings {
    /// The namespace of the Lease: its own setting, else the pod's, else that of the context.
    #[must_use]
    pub fn lease_namespace(&self, context: &str) -> String {
        let named = [&self.lease.namespace, &self.pod.namespace].into_iter().find(|name| !name.is_empty());
        named.map_or(context, String::as_str).to_owned()
    }

    /// Whether everything goes together; every mistake is listed.
    ///
    /// # Errors
    /// Naming each setting, what is wrong and what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        let lease = &self.lease;
        let admin = Listener { address: self.server.admin.address.clone() };
        wrong.extend(admin.problem("server.admin.address"));
        let tls = &self.server.admin.tls;
        for (name, path) in tls.all() {
            if tls.is_given() && path.as_os_str().is_empty() {
                wrong.push(format!("server.admin.tls.{name}: is missing; certificate, key and ca go together"));
            }
        }
        for name in &self.watch.namespaces {
            if !is_label(name) {
                wrong.push(format!("watch.namespaces: `{name}` is no name of a namespace"));
            }
        }
        let mut seen = self.watch.namespaces.clone();
        seen.sort();
        if seen.windows(2).any(|pair| pair.first() == pair.last()) {
            wrong.push("watch.namespaces: names a namespace twice".to_owned());
        }
        let mut need = |ok: bool, text: &str| {
            if !ok {
                wrong.push(text.to_owned());
            }
        };
        need(is_label(&lease.name), "lease.name: must be a name such as keyrealm-operator");
        need(
            lease.namespace.is_empty() || is_label(&lease.namespace),
            "lease.namespace: must be a namespace, or empty for the pod's own",
        );
        need((5..=300).contains(&lease.duration_seconds), "lease.duration_seconds: must be 5 to 300");
        need(
            lease.renew_seconds >= 2 && lease.renew_seconds < lease.duration_seconds,
            "lease.renew_seconds: must be at least 2 and less than lease.duration_seconds, so that a leader stops before \
             another one begins",
        );
        need(
            lease.retry_seconds >= 1 && lease.retry_seconds * 2 <= lease.renew_seconds,
            "lease.retry_seconds: must be at least 1 and at most half of lease.renew_seconds, so that one lost call costs \
             no leadership",
        );
        for (key, image) in [
            ("images.kms", &self.images.kms),
            ("images.identity", &self.images.identity),
            ("images.postgres", &self.images.postgres),
        ] {
            let good = !image.is_empty() && image.len() <= 255 && !image.contains(char::is_whitespace);
            need(good, &format!("{key}: must be an image such as keyrealm/kms:1.0.0"));
        }
        need(
            ["Always", "IfNotPresent", "Never"].contains(&self.images.pull_policy.as_str()),
            "images.pull_policy: must be Always, IfNotPresent or Never",
        );
        need(self.runtime_dir.is_absolute(), "runtime_dir: must be an absolute path");
        if let Err(error) = keyrealm_telemetry::check_level(&self.telemetry.level) {
            wrong.push(error.to_string());
        }
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(wrong)) }
    }
}

/// RFC 1123, as Kubernetes takes it for namespaces.
fn is_label(name: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// A list, or a text with commas: an environment variable has no lists.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::List(list) => list,
        Either::Text(text) => {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use keyrealm_config::{Sources, load};

    use super::*;

    fn with(flags: &[&str]) -> Settings {
        let flags = flags.iter().map(|flag| flag.parse().unwrap()).collect();
        load(&Sources { product: "operator", files: &[], environment: Vec::new(), flags }).unwrap()
    }

    #[test]
    fn a_certificate_for_the_admin_listener_is_whole_or_refused() {
        let read = |pairs: &[(&str, &str)]| {
            let name = |name: &str| format!("KEYREALM_OPERATOR__SERVER__ADMIN__TLS__{name}");
            let environment = pairs.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect();
            load::<Settings>(&Sources { product: "operator", files: &[], environment, flags: Vec::new() })
        };
        let whole = [("CERTIFICATE", "/t/tls.crt"), ("KEY", "/t/tls.key"), ("CA", "/t/ca.crt")];
        let settings = read(&whole).unwrap();
        settings.check().unwrap();
        let tls = settings.server.admin.tls;
        assert!(tls.is_given() && !Settings::default().server.admin.tls.is_given());
        assert_eq!((tls.certificate, tls.key, tls.ca), ("/t/tls.crt".into(), "/t/tls.key".into(), "/t/ca.crt".into()));
        for (missing, name) in [(0, "certificate"), (1, "key"), (2, "ca")] {
            let mut pairs = whole.to_vec();
            pairs.remove(missing);
            let refused = read(&pairs).unwrap().check().unwrap_err().to_string();
            assert!(refused.contains(&format!("server.admin.tls.{name}: is missing")), "{refused}");
        }
        assert!(read(&[("NAME", "x")]).is_err());
    }

    #[test]
    fn the_defaults_can_be_used() {
        Settings::default().check().unwrap();
        assert_eq!(Settings::default().images.postgres, "keyrealm/postgres:15");
        assert!(with(&[]).lease.enabled);
    }

    #[test]
    fn every_mistake_is_listed() {
        let wrong = with(&[
            "server.admin.address=9090",
            "watch.namespaces=a, B, a",
            "lease.renew_seconds=15",
            "lease.retry_seconds=9",
            "images.kms=",
            "images.pull_policy=Sometimes",
            "runtime_dir=here",
            "telemetry.level=kms=loud",
        ]);
        let text = wrong.check().unwrap_err().to_string();
        for key in [
            "server.admin.address",
            "`B`",
            "twice",
            "lease.renew_seconds",
            "lease.retry_seconds",
            "images.kms",
            "images.pull_policy",
            "runtime_dir",
            "telemetry.level",
        ] {
            assert!(text.contains(key), "{key}: {text}");
        }
    }

    #[test]
    fn namespaces_come_as_a_list_or_with_commas() {
        assert_eq!(with(&["watch.namespaces=a, b"]).watch.namespaces, ["a", "b"]);
        assert!(with(&["watch.namespaces="]).watch.namespaces.is_empty());
        let environment = vec![("KEYREALM_OPERATOR__WATCH__NAMESPACES".to_owned(), "a,b".to_owned())];
        let sources = Sources { product: "operator", files: &[], environment, flags: Vec::new() };
        assert_eq!(load::<Settings>(&sources).unwrap().watch.namespaces, ["a", "b"]);
    }

    #[test]
    fn what_is_seen() {
        let some = with(&["watch.namespaces=a,b"]).watch;
        assert!(some.covers(Some("b")) && !some.covers(Some("c")) && !some.covers(None));
        assert!(WatchSettings::default().covers(Some("c")) && WatchSettings::default().covers(None));
    }

    #[test]
    fn the_lease_lies_where_the_pod_is_unless_told_otherwise() {
        let mut settings = Settings::default();
        assert_eq!(settings.lease_namespace("context"), "context");
        settings.pod.namespace = "pod".to_owned();
        assert_eq!(settings.lease_namespace("context"), "pod");
        settings.lease.namespace = "own".to_owned();
        assert_eq!(settings.lease_namespace("context"), "own");
    }
}
