//! The CA bundle that is trusted: the given one and nothing else.

use std::path::Path;
use std::sync::Arc;

use keyrealm_crypto::sha256_hex;
use keyrealm_pki::{certificates, to_pem};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::TlsError;

/// A parsed CA bundle.
#[derive(Clone)]
pub struct TrustBundle {
    store: Arc<RootCertStore>,
    certificates: Arc<[CertificateDer<'static>]>,
    sha256: String,
}

impl TrustBundle {
    /// Parses a PEM bundle.
    ///
    /// # Errors
    /// When it holds no certificate, or one that is no CA certificate at all.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        Self::parse(Path::new("the CA bundle"), pem)
    }

    /// Reads a PEM bundle.
    ///
    /// # Errors
    /// When the file cannot be read or used.
    pub fn from_file(path: &Path) -> Result<Self, TlsError> {
        let pem = std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })?;
        Self::parse(path, &pem)
    }

    /// From certificates in DER, as other libraries hand them on.
    ///
    /// # Errors
    /// As [`TrustBundle::from_pem`].
    pub fn from_der(certificates: &[Vec<u8>]) -> Result<Self, TlsError> {
        let certificates: Vec<CertificateDer<'_>> =
            certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        Self::from_pem(to_pem(&certificates).as_bytes())
    }

    fn parse(path: &Path, pem: &[u8]) -> Result<Self, TlsError> {
        let content = |source| TlsError::Content { path: path.to_owned(), source };
        let certificates = certificates(pem).map_err(content)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|error| content(keyrealm_pki::PkiError::Verify(error.to_string())))?;
        }
        Ok(Self { store: Arc::new(store), certificates: certificates.into(), sha256: sha256_hex(pem) })
    }

    /// SHA-256 of the bundle's text, in hex: what a process reports as trusted.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}
