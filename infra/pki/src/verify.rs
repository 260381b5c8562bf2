//! Path validation (RFC 5280, section 6) by rustls-webpki: signatures, dates, path length, name constraints, EKU, name.

use keyrealm_base::Timestamp;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::PkiError;

/// What the leaf is asked to be.
pub enum VerifyFor<'a> {
    /// A server, under this name if one is given.
    Server(Option<&'a str>),
    /// A client.
    Client,
}

/// Verifies a chain, leaf first, against the roots.
///
/// # Errors
/// The first check that fails, by the library's name for it.
pub fn verify_chain(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    purpose: &VerifyFor<'_>,
    now: Timestamp,
) -> Result<(), PkiError> {
    let refuse = |error: webpki::Error| PkiError::Verify(error.to_string());
    let (leaf, between) = chain.split_first().ok_or_else(|| PkiError::Verify("the chain is empty".to_owned()))?;
    let anchors: Vec<_> = roots.iter().map(anchor_from_trusted_cert).collect::<Result<_, _>>().map_err(refuse)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(refuse)?;
    let usage = match purpose {
        VerifyFor::Server(_) => KeyUsage::server_auth(),
        VerifyFor::Client => KeyUsage::client_auth(),
    };
    let seconds = u64::try_from(now.seconds()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, between, time, usage, None, None).map_err(refuse)?;
    if let VerifyFor::Server(Some(name)) = purpose {
        let name = ServerName::try_from(*name).map_err(|error| PkiError::Verify(error.to_string()))?;
        leaf.verify_is_valid_for_subject_name(&name).map_err(refuse)?;
    }
    Ok(())
}
