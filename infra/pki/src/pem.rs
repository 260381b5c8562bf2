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
/// When there is none or it is damaged.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|error| PkiError::Pem { what: "the private key", reason: error.to_string() })
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
