//! A chain in a folder, and clients that trust it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use keyrealm_base::{Clock, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_pki::{CaChain, ChainSpec, LeafSpec, LeafUsage, NameConstraints, NameStyle, PkiError};
use keyrealm_tls::{Identity, ReloadingIdentity, TrustBundle, client_config, write_private, write_public};
use tempfile::TempDir;

/// A CA that can vouch for nothing but `keyrealm.local`, loopback and the range of the test bed (RFC 2544), should its key
/// ever get about.
pub(crate) fn test_ca(prefix: &str) -> Result<CaChain, PkiError> {
    let constraints = NameConstraints {
        dns: vec!["keyrealm.local".to_owned(), "localhost".to_owned()],
        ip: vec![
            (IpAddr::from([127, 0, 0, 0]), 8),
            (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]), 128),
            (IpAddr::from([198, 18, 0, 0]), 15),
        ],
    };
    let style = NameStyle::Fqdn { prefix: prefix.to_owned() };
    CaChain::generate(&ChainSpec { constraints, ..ChainSpec::new(style) }, &SystemClock, &SystemRandom)
}

/// A CA with one leaf for everything on loopback.
pub struct TestTls {
    folder: TempDir,
    /// What trusts the chain.
    pub trust: TrustBundle,
    /// The leaf, for servers and clients.
    pub identity: Arc<ReloadingIdentity>,
}

impl TestTls {
    /// Makes the chain and writes its files.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = test_ca("test.keyrealm.local").unwrap();
        let leaf = LeafSpec::new("service.keyrealm.local", LeafUsage::ServerAndClient).and_loopback();
        let leaf = ca.issue_leaf(&leaf, &SystemClock, &SystemRandom).unwrap();
        write_public(&folder.path().join("ca.pem"), ca.trust_bundle_pem().as_bytes()).unwrap();
        write_public(&folder.path().join("cert.pem"), leaf.chain_pem.as_bytes()).unwrap();
        write_private(&folder.path().join("key.pem"), leaf.key_pem.as_bytes()).unwrap();
        let trust = TrustBundle::from_pem(ca.trust_bundle_pem().as_bytes(), SystemClock.now()).unwrap();
        let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
        let identity = Identity::from_pem(chain, key, &trust, SystemClock.now()).unwrap();
        Self { folder, trust, identity: ReloadingIdentity::new(identity) }
    }

    /// `ca.pem`, `cert.pem`, `key.pem`, or a file of the test's own.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a private file and says where.
    #[must_use]
    pub fn private_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        write_private(&path, content).unwrap();
        path
    }

    /// A client without a certificate.
    #[must_use]
    pub fn client(&self) -> HttpsClient {
        HttpsClient::new(&client_config(&self.trust, None).unwrap(), ClientOptions::default())
    }

    /// A client that shows the leaf.
    #[must_use]
    pub fn client_with_certificate(&self) -> HttpsClient {
        HttpsClient::new(&client_config(&self.trust, Some(&self.identity)).unwrap(), ClientOptions::default())
    }
}

impl Default for TestTls {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_vouches_for_nothing_outside() {
        let ca = test_ca("test.keyrealm.local").unwrap();
        let issue = |spec: LeafSpec| ca.issue_leaf(&spec, &SystemClock, &SystemRandom).is_ok();
        assert!(issue(LeafSpec::new("a.keyrealm.local", LeafUsage::Server).and_loopback()));
        assert!(!issue(LeafSpec::new("example.test", LeafUsage::Server)));
        let elsewhere =
            LeafSpec { ips: vec!["10.0.0.1".parse().unwrap()], ..LeafSpec::new("localhost", LeafUsage::Server) };
        assert!(!issue(elsewhere));
    }
}
