//! A certificate chain with its key, checked as a whole before it is used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyrealm_base::Timestamp;
use keyrealm_pki::{CertificateInfo, PkiError, VerifyFor, certificates, chain_sha256, private_key, verify_chain};
use rustls::sign::CertifiedKey;

use crate::files::read_public;
use crate::{TlsError, TrustBundle, provider, read_private};

/// Where the parts of an identity lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The leaf and the CAs up to the root, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM; see [`read_private`] for who may read it.
    pub key: PathBuf,
}

/// A usable certificate with its key.
#[derive(Clone)]
pub struct Identity {
    pub(crate) certified: Arc<CertifiedKey>,
    chain_sha256: String,
    not_after: Timestamp,
}

impl Identity {
    /// From PEM texts.
    ///
    /// # Errors
    /// When the key does not belong to the certificate, or the chain does not verify against `trust` at `now`.
    pub fn from_pem(chain: &[u8], key: &[u8], trust: &TrustBundle, now: Timestamp) -> Result<Self, TlsError> {
        Self::parse((Path::new("the certificate"), chain), (Path::new("the key"), key), Some((trust, now)))
    }

    /// From PEM texts, to be shown to a server of another realm (the Kubernetes API). Which CA its clients come from is
    /// known to that server alone, so that the chain cannot be verified here.
    ///
    /// # Errors
    /// When the key does not belong to the certificate.
    pub fn for_foreign_server(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::parse((Path::new("the client certificate"), chain), (Path::new("the client key"), key), None)
    }

    /// From files.
    ///
    /// # Errors
    /// As [`Identity::from_pem`], and when a file cannot be read, is longer than 1 MiB, or the key lies open.
    pub fn from_files(files: &IdentityFiles, trust: &TrustBundle, now: Timestamp) -> Result<Self, TlsError> {
        let key = read_private(&files.key)?;
        let chain = read_public(&files.certificate)?;
        Self::parse((&files.certificate, &chain), (&files.key, key.expose()), Some((trust, now)))
    }

    fn parse(
        (chain_path, chain): (&Path, &[u8]),
        (key_path, key): (&Path, &[u8]),
        verify: Option<(&TrustBundle, Timestamp)>,
    ) -> Result<Self, TlsError> {
        let content = |source: PkiError| TlsError::Content { path: chain_path.to_owned(), source };
        let chain = certificates(chain).map_err(content)?;
        let not_after =
            chain.first().map(CertificateInfo::parse).transpose().map_err(content)?.map(|info| info.not_after);
        let key = private_key(key).map_err(|source| TlsError::Content { path: key_path.to_owned(), source })?;
        if let Some((trust, now)) = verify {
            // Either purpose will do here: the peer checks the one that it needs.
            verify_chain(&chain, trust.certificates(), &VerifyFor::Server(None), now)
                .or_else(|error| verify_chain(&chain, trust.certificates(), &VerifyFor::Client, now).map_err(|_| error))
                .map_err(content)?;
        }
        let sha256 = chain_sha256(&chain);
        let signing = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsError::Config(format!("{}: {error}", key_path.display())))?;
        let certified = CertifiedKey::new(chain, signing);
        certified
            .keys_match()
            .map_err(|_| TlsError::Mismatch { certificate: chain_path.to_owned(), key: key_path.to_owned() })?;
        Ok(Self { certified: Arc::new(certified), chain_sha256: sha256, not_after: not_after.unwrap_or_default() })
    }

    /// SHA-256 over the chain, in hex: what a server reports as served.
    #[must_use]
    pub fn chain_sha256(&self) -> &str {
        &self.chain_sha256
    }

    /// When the leaf ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}
