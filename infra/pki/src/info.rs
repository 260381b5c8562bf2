//! What a certificate says.

use keyrealm_base::Timestamp;
use keyrealm_crypto::sha256_hex;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::PkiError;

/// The facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The subject's common name.
    pub subject: String,
    /// The subject's organization, if it has one.
    pub organization: Option<String>,
    /// The bytes of the serial number.
    pub serial: Vec<u8>,
    /// Whether it may sign other certificates (RFC 5280, section 4.2.1.9).
    pub is_ca: bool,
    /// The first instant at which it is valid.
    pub not_before: Timestamp,
    /// The last instant at which it is valid.
    pub not_after: Timestamp,
    /// The bits of the public key.
    pub public_key: Vec<u8>,
}

impl CertificateInfo {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn parse(certificate: &CertificateDer<'_>) -> Result<Self, PkiError> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|error| PkiError::Pem { what: "a certificate", reason: error.to_string() })?;
        let subject = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
        let organization = parsed.subject().iter_organization().find_map(|name| name.as_str().ok());
        Ok(Self {
            subject: subject.to_owned(),
            organization: organization.map(str::to_owned),
            serial: parsed.raw_serial().to_vec(),
            is_ca: parsed.is_ca(),
            not_before: Timestamp::from_seconds(parsed.validity().not_before.timestamp()),
            not_after: Timestamp::from_seconds(parsed.validity().not_after.timestamp()),
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
        })
    }
}

/// SHA-256 over the certificates of a chain, in hex: what a server reports as served.
#[must_use]
pub fn chain_sha256(chain: &[CertificateDer<'_>]) -> String {
    sha256_hex(&chain.iter().flat_map(|certificate| certificate.iter().copied()).collect::<Vec<u8>>())
}
