//! The CA bundle that is trusted: the given one and nothing else.

use std::path::Path;
use std::sync::Arc;

use keyrealm_base::Timestamp;
use keyrealm_crypto::sha256_hex;
use keyrealm_pki::{CertificateInfo, PkiError, certificates, to_pem};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::TlsError;
use crate::files::read_public;

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
    /// When it holds no certificate, or one that is not of a CA or has ended by `now`.
    pub fn from_pem(pem: &[u8], now: Timestamp) -> Result<Self, TlsError> {
        Self::parse(Path::new("the CA bundle"), pem, now)
    }

    /// Reads a PEM bundle.
    ///
    /// # Errors
    /// As [`TrustBundle::from_pem`], and when the file cannot be read or is longer than 1 MiB.
    pub fn from_file(path: &Path, now: Timestamp) -> Result<Self, TlsError> {
        Self::parse(path, &read_public(path)?, now)
    }

    /// From certificates in DER, as other libraries hand them on.
    ///
    /// # Errors
    /// As [`TrustBundle::from_pem`].
    pub fn from_der(certificates: &[Vec<u8>], now: Timestamp) -> Result<Self, TlsError> {
        let certificates: Vec<CertificateDer<'_>> =
            certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        Self::from_pem(to_pem(&certificates).as_bytes(), now)
    }

    fn parse(path: &Path, pem: &[u8], now: Timestamp) -> Result<Self, TlsError> {
        let content = |source| TlsError::Content { path: path.to_owned(), source };
        let certificates = certificates(pem).map_err(content)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            check_anchor(certificate, now).map_err(content)?;
            store.add(certificate.clone()).map_err(|error| content(PkiError::Verify(error.to_string())))?;
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

/// Path validation takes an anchor as it is (RFC 5280, section 6.1.1, d): whether it is a CA at all, and not over, is for
/// whoever trusts it to look at.
fn check_anchor(certificate: &CertificateDer<'_>, now: Timestamp) -> Result<(), PkiError> {
    let info = CertificateInfo::parse(certificate)?;
    if !info.is_ca {
        return Err(PkiError::Verify(format!("`{}` is not a CA certificate; give its issuer's root", info.subject)));
    }
    if info.not_after <= now {
        return Err(PkiError::Verify(format!("the CA `{}` expired on {}", info.subject, info.not_after)));
    }
    Ok(())
}
