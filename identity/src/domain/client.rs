//! Clients as they are declared and stored.

use keyrealm_auth::ScopeSet;
use keyrealm_crypto::{ct_eq, sha256_hex};
use keyrealm_registry::specs::{ClientSpec, ClientType, PkcePolicy};
use url::{Host, Url};

const GRANTS: [&str; 3] = ["authorization_code", "refresh_token", "client_credentials"];

/// What a type cannot say of a client.
pub(crate) trait ClientRules {
    /// Checks what the type cannot say.
    fn check(&self) -> Result<(), String>;
    fn allows_grant(&self, grant: &str) -> bool;
    fn scope_set(&self) -> ScopeSet;
    /// Whether this is one of the client's secrets. They have 256 random bits, so one SHA-256 is enough.
    fn has_secret(&self, secret: &str) -> bool;
    /// The name that people are shown.
    fn shown_name(&self) -> &str;
    /// Whether a redirect URI is registered: the same string, byte by byte. For public clients the port of a loopback IP
    /// literal may differ: programs on a desktop take whatever port is free (RFC 8252, section 7.3).
    fn redirects_to(&self, given: &str) -> bool;
}

impl ClientRules for ClientSpec {
    fn check(&self) -> Result<(), String> {
        let confidential = self.kind == ClientType::Confidential;
        let legal_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.client_id.is_empty() || self.client_id.len() > 100 || !self.client_id.bytes().all(legal_id) {
            return Err("client_id: 1 to 100 letters, digits, `-`, `_`, `.`".to_owned());
        }
        if confidential == self.secret_sha256.is_empty() || self.secret_sha256.len() > 2 {
            return Err("secret_sha256: one or two for a confidential client, none for a public one".to_owned());
        }
        if let Some(grant) = self.grants.iter().find(|grant| !GRANTS.contains(&grant.as_str())) {
            return Err(format!("grants: `{grant}` is unknown; allowed: {}", GRANTS.join(", ")));
        }
        if !confidential && self.allows_grant("client_credentials") {
            return Err("grants: client_credentials needs a confidential client".to_owned());
        }
        if self.pkce == PkcePolicy::IfSent && !confidential {
            return Err("pkce: if_sent is for confidential clients only".to_owned());
        }
        for uri in self.redirect_uris.iter().chain(&self.post_logout_redirect_uris) {
            check_uri(uri)?;
        }
        let scopes = ScopeSet::parse(&self.scopes).map_err(|error| format!("scopes: {error}"))?;
        if let Some(unknown) = scopes.unknown.first() {
            return Err(format!("scopes: `{unknown}` is unknown"));
        }
        Ok(())
    }

    fn allows_grant(&self, grant: &str) -> bool {
        self.grants.iter().any(|own| own == grant)
    }

    fn scope_set(&self) -> ScopeSet {
        ScopeSet::parse(&self.scopes).map(|parsed| parsed.known).unwrap_or_default()
    }

    fn has_secret(&self, secret: &str) -> bool {
        let given = sha256_hex(secret.as_bytes());
        self.secret_sha256.iter().fold(false, |found, own| found | ct_eq(own.as_bytes(), given.as_bytes()))
    }

    fn shown_name(&self) -> &str {
        if self.display_name.is_empty() { &self.client_id } else { &self.display_name }
    }

    fn redirects_to(&self, given: &str) -> bool {
        let public = self.kind == ClientType::Public;
        self.redirect_uris.iter().any(|own| own == given || (public && same_but_port(own, given)))
    }
}

/// https, or http on loopback; absolute; without a fragment (RFC 6749, section 3.1.2).
fn check_uri(text: &str) -> Result<(), String> {
    let refuse = || format!("`{text}`: must be an absolute https URI (http on loopback only) without a fragment");
    let uri = Url::parse(text).map_err(|_| refuse())?;
    let loopback = match uri.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let scheme = uri.scheme() == "https" || (uri.scheme() == "http" && loopback);
    if scheme && uri.host().is_some() && uri.fragment().is_none() && uri.username().is_empty() {
        Ok(())
    } else {
        Err(refuse())
    }
}

fn same_but_port(own: &str, given: &str) -> bool {
    ["http://127.0.0.1", "http://[::1]"].iter().any(|host| {
        let (Some(own), Some(given)) = (own.strip_prefix(host), given.strip_prefix(host)) else { return false };
        without_port(own).is_some_and(|rest| Some(rest) == without_port(given))
    })
}

fn without_port(rest: &str) -> Option<&str> {
    let Some(after) = rest.strip_prefix(':') else { return rest.starts_with('/').then_some(rest) };
    let slash = after.find('/')?;
    let (port, path) = after.split_at_checked(slash)?;
    (!port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> ClientSpec {
        ClientSpec {
            client_id: "c".into(),
            display_name: String::new(),
            kind: ClientType::Confidential,
            secret_sha256: vec![sha256_hex(b"s")],
            redirect_uris: vec!["https://app.test/cb".into()],
            post_logout_redirect_uris: vec![],
            grants: vec!["authorization_code".into()],
            scopes: "openid kms:encrypt".into(),
            pkce: PkcePolicy::IfSent,
            enabled: true,
        }
    }

    #[test]
    fn redirects_match_to_the_letter() {
        let client = |kind| ClientSpec {
            kind,
            redirect_uris: vec!["https://app.test/cb".into(), "http://127.0.0.1/cb".into()],
            ..base()
        };
        let (public, confidential) = (client(ClientType::Public), client(ClientType::Confidential));
        assert!(public.redirects_to("https://app.test/cb") && confidential.redirects_to("https://app.test/cb"));
        assert!(public.redirects_to("http://127.0.0.1:49152/cb"));
        assert!(
            !confidential.redirects_to("http://127.0.0.1:49152/cb"),
            "only programs on a desktop have no fixed port"
        );
        for bad in [
            "https://app.test/cb/",
            "https://app.test/CB",
            "https://APP.test/cb",
            "https://app.test:443/cb",
            "https://app.test/cb?x=1",
            "https://app.test/cb#f",
            "https://app.test//cb",
            "https://app.test/./cb",
            "https://app.test/%63b",
            "https://user@app.test/cb",
            "https://app.test.evil.test/cb",
            "http://app.test/cb",
            "https://app.test\\@evil.test/cb",
            " https://app.test/cb",
            "https://app.test/cb ",
            "https://app.test/cb\n",
            "https://app.test",
            "",
            "javascript:alert(1)",
            "//app.test/cb",
            "https://evil.test/?https://app.test/cb",
            "http://127.0.0.1:x/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:1@evil.test/cb",
            "http://127.0.0.1.evil.test/cb",
            "http://127.0.0.1:80/cb2",
            "http://localhost/cb",
            "https://127.0.0.1/cb",
            "http://127.0.0.1:123456/cb",
            "http://127.1/cb",
        ] {
            assert!(!public.redirects_to(bad) && !confidential.redirects_to(bad), "{bad:?}");
        }
    }

    #[test]
    fn declarations_are_checked() {
        let spec = |change: &dyn Fn(&mut ClientSpec)| {
            let mut spec = base();
            change(&mut spec);
            spec
        };
        assert_eq!(spec(&|_| ()).check(), Ok(()));
        assert!(spec(&|_| ()).has_secret("s") && !spec(&|_| ()).has_secret("t"));
        for bad in [
            spec(&|s| s.kind = ClientType::Public),
            spec(&|s| s.secret_sha256.clear()),
            spec(&|s| s.grants.push("password".into())),
            spec(&|s| s.scopes = "openid everything".into()),
            spec(&|s| s.client_id = "a b".into()),
            spec(&|s| s.redirect_uris.push("http://app.test/cb".into())),
            spec(&|s| s.redirect_uris.push("https://app.test/cb#x".into())),
            spec(&|s| s.redirect_uris.push("/cb".into())),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
