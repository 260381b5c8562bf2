//! Certificates and keys in PEM (RFC 7468).

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::PkiError;

/// All certificates of a PEM text, at least one, in their order.
///
/// # Errors
/// When there is none or one is damaged.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let refuse = |reason: String| PkiError::Pem { what: "the certificates", reason };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|error| refuse(error.to_string()))?;
    if found.is_empty() {
        return Err(refuse("there is no `BEGIN CERTIFICATE`".to_owned()));
    }
    Ok(found)
}

/// The one private key of a PEM text.
///
/// # Errors
/// When there is none, more than one, or it is damaged.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PkiError> {
    let refuse = |reason: String| PkiError::Pem { what: "the private key", reason };
    let mut found = PrivateKeyDer::pem_slice_iter(text);
    let first = found.next().ok_or_else(|| refuse("there is no `BEGIN PRIVATE KEY`".to_owned()))?;
    let key = first.map_err(|error| refuse(error.to_string()))?;
    match found.next() {
        None => Ok(key),
        Some(_) => Err(refuse("there is more than one; keep the certificate's".to_owned())),
    }
}

/// A PEM text of certificates, in their order.
#[must_use]
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    use base64::Engine;
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64::engine::general_purpose::STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
