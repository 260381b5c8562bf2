//! The settings of the KMS.

use std::path::PathBuf;

use keyrealm_config::{ConfigError, Database, Listener, Telemetry, Tls};
use serde::{Deserialize, Serialize};
use url::Url;

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listeners.
    pub server: Server,
    /// Certificates.
    pub tls: Tls,
    /// Where the data lies.
    pub database: Database,
    /// The unseal key.
    pub barrier: Barrier,
    /// Whose tokens are taken.
    pub auth: Auth,
    /// The log.
    pub telemetry: Telemetry,
}

/// The listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `https://host[:port]` as callers know it: the audience of their tokens.
    pub public_url: String,
    /// For everybody.
    pub public: Listener,
    /// For callers with a certificate.
    pub mtls: Listener,
    /// For probes.
    pub admin: Listener,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            public_url: String::new(),
            public: Listener::loopback(8081),
            mtls: Listener::loopback(8443),
            admin: Listener::loopback(9091),
        }
    }
}

/// The barrier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Barrier {
    /// The file of the unseal key: 32 random bytes, raw or as base64.
    pub unseal_key_file: PathBuf,
}

/// Whose tokens are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The issuers; at least one.
    pub issuers: Vec<Issuer>,
}

/// An issuer of access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its key set is; may be an internal address.
    pub jwks_url: Url,
}

impl Config {
    /// Checks what a single value cannot show.
    ///
    /// # Errors
    /// All that is wrong, each with its key and the mend.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        let mut need = |ok: bool, text: &str| {
            if !ok {
                wrong.push(text.to_owned());
            }
        };
        need(
            is_origin(&self.server.public_url),
            "server.public_url: must be https://host[:port] and nothing behind it; it is the audience of access tokens",
        );
        let files = [
            (&self.tls.certificate, "tls.certificate: give the file of the certificate chain (PEM)"),
            (&self.tls.key, "tls.key: give the file of the private key (PEM, mode 0600)"),
            (&self.tls.ca, "tls.ca: give the file of the CA bundle (PEM)"),
            (&self.barrier.unseal_key_file, "barrier.unseal_key_file: give the file of the unseal key (mode 0600)"),
        ];
        for (path, text) in files {
            need(!path.as_os_str().is_empty(), text);
        }
        need(
            !self.auth.issuers.is_empty(),
            "auth.issuers: give at least one issuer; without one nobody could be let in",
        );
        for (at, issuer) in self.auth.issuers.iter().enumerate() {
            let twice = self.auth.issuers.iter().take(at).any(|earlier| earlier.issuer == issuer.issuer);
            need(!twice, "auth.issuers[].issuer: the same issuer stands there twice; take one of them out");
            need(issuer.jwks_url.scheme() == "https", "auth.issuers[].jwks_url: must be an https URL");
            need(!issuer.issuer.is_empty(), "auth.issuers[].issuer: must not be empty");
        }
        let Server { public, mtls, admin, .. } = &self.server;
        for (key, listener) in
            [("server.public.address", public), ("server.mtls.address", mtls), ("server.admin.address", admin)]
        {
            wrong.extend(listener.problem(key));
        }
        wrong.extend(keyrealm_telemetry::check_level(&self.telemetry.level).err().map(|error| error.to_string()));
        wrong.extend(self.database.problems());
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(wrong)) }
    }
}

/// `https://host[:port]` without anything else.
fn is_origin(text: &str) -> bool {
    let plain =
        |url: &Url| url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" && plain(&url)) && !text.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        config.server.public_url = "https://kms.test".to_owned();
        let file = PathBuf::from("file");
        config.tls = Tls { certificate: file.clone(), key: file.clone(), ca: file.clone() };
        config.database.folder = file.clone();
        config.barrier.unseal_key_file = file;
        config.auth.issuers = vec![issuer("https://id.test")];
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    fn issuer(name: &str) -> Issuer {
        Issuer { issuer: name.to_owned(), jwks_url: "https://id.test/jwks".parse().unwrap() }
    }

    #[test]
    fn what_would_fail_at_the_start_is_told_before() {
        let twice = complaints(|config| config.auth.issuers.push(issuer("https://id.test")));
        assert!(twice.contains("twice"), "{twice}");
        let level = complaints(|config| config.telemetry.level = "kms=loud".to_owned());
        assert!(level.contains("telemetry.level") && level.contains("kms=loud"), "{level}");
        for listener in ["public", "mtls", "admin"] {
            let text = complaints(|config| {
                let server = &mut config.server;
                let listener = match listener {
                    "public" => &mut server.public,
                    "mtls" => &mut server.mtls,
                    _ => &mut server.admin,
                };
                listener.address = "nowhere".to_owned();
            });
            assert!(text.contains(&format!("server.{listener}.address")), "{text}");
        }
        for bad in ["http://a", "https://a/", "https://a/b", "https://a?b", "https://a#b", "https://c@a", "a", ""] {
            let text = complaints(|config| config.server.public_url = bad.to_owned());
            assert!(text.contains("server.public_url"), "{bad}: {text}");
        }
    }

    /// Without an issuer the server does not start (KMS-03), and every mistake is told at once.
    #[test]
    fn an_empty_configuration_lists_all_that_is_missing() {
        let text = Config::default().check().unwrap_err().to_string();
        for needed in
            ["server.public_url", "tls.certificate", "tls.key", "tls.ca", "database.folder", "barrier.", "auth.issuers"]
        {
            assert!(text.contains(needed), "{needed} in {text}");
        }
    }
}
