//! What is in Secrets, reduced to what a plan needs. Nothing of a key stays in memory.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use keyrealm_barrier::UnsealKey;
use keyrealm_crypto::{SecretBytes, sha256_hex};
use keyrealm_pki::{CaChain, CertificateInfo, certificates};
use keyrealm_store::RegistrarAccess;
use keyrealm_tls::Identity;

use super::facts::RootFacts;
use crate::children::config_map::Connection;
use crate::children::secret::{leaf, root_ca, unseal};

/// The longest entry that is read.
const MAX: usize = 64 * 1024;

fn entry<'s>(secret: &'s Secret, key: &str) -> Result<&'s [u8], String> {
    let found = secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    match found {
        None | Some([]) => Err(format!("it has no entry {key}")),
        Some(bytes) if bytes.len() > MAX => Err(format!("its entry {key} is longer than 64 KiB")),
        Some(bytes) => Ok(bytes),
    }
}

fn text<'s>(secret: &'s Secret, key: &str) -> Result<&'s str, String> {
    str::from_utf8(entry(secret, key)?).map_err(|_| format!("its entry {key} is not UTF-8"))
}

/// The CAs with the key that issues.
pub(super) fn chain(secret: &Secret) -> Result<CaChain, String> {
    CaChain::from_pem(text(secret, root_ca::CERTIFICATES)?, text(secret, root_ca::ISSUING_KEY)?)
        .map_err(|error| error.to_string())
}

/// The CAs without their keys.
pub(super) fn root(secret: &Secret) -> Result<RootFacts, String> {
    let chain = chain(secret)?;
    let certificates = certificates(chain.certificates_pem().as_bytes()).map_err(|error| error.to_string())?;
    let mut not_after = None;
    for certificate in &certificates {
        let info = CertificateInfo::parse(certificate).map_err(|error| error.to_string())?;
        if !info.is_ca {
            return Err(format!("`{}` in {} is no CA", info.subject, root_ca::CERTIFICATES));
        }
        not_after = Some(not_after.map_or(info.not_after, |first: keyrealm_base::Timestamp| first.min(info.not_after)));
    }
    let (Some(root), Some(not_after)) = (certificates.first(), not_after) else {
        return Err(format!("{} has no certificate", root_ca::CERTIFICATES));
    };
    let bundle_pem = chain.trust_bundle_pem();
    let bundle_sha256 = sha256_hex(bundle_pem.as_bytes());
    Ok(RootFacts { sha256: sha256_hex(root), not_after, bundle_pem, bundle_sha256 })
}

/// The check value of an unseal key.
pub(super) fn unseal_check(secret: &Secret) -> Result<String, String> {
    let content = SecretBytes::copy_of(entry(secret, unseal::KEY)?);
    let key = UnsealKey::parse(&content).map_err(|error| error.to_string())?;
    key.check_value().map_err(|error| error.to_string())
}

/// A login's password.
pub(super) fn password(secret: &Secret) -> Result<SecretBytes, String> {
    entry(secret, "password").map(SecretBytes::copy_of)
}

/// Whether the certificate is the one that the annotations describe.
pub(super) fn leaf_is_intact(secret: &Secret, annotations: &BTreeMap<String, String>) -> bool {
    let said = |key: &str| annotations.get(key).map(String::as_str).unwrap_or_default();
    let found = || -> Option<(String, String)> {
        let (chain, key) = (entry(secret, "tls.crt").ok()?, entry(secret, "tls.key").ok()?);
        let identity = Identity::for_foreign_server(chain, key).ok()?;
        Some((identity.chain_sha256().to_owned(), sha256_hex(entry(secret, "ca.crt").ok()?)))
    };
    found().is_some_and(|(chain, bundle)| chain == said(leaf::CHAIN_SHA256) && bundle == said(leaf::BUNDLE_SHA256))
}

/// The registrar's login of an external database.
pub(super) fn access(secret: &Secret) -> Result<RegistrarAccess, String> {
    let one_line = |key: &str| text(secret, key).map(|text| text.trim().to_owned());
    let port = one_line("port")?.parse().map_err(|_| "its entry port is no port number".to_owned())?;
    let ca_pem = text(secret, "ca.crt")?.to_owned();
    certificates(ca_pem.as_bytes()).map_err(|error| format!("its entry ca.crt: {error}"))?;
    let password = entry(secret, "password")?;
    // As an editor ends a file.
    let password = password.strip_suffix(b"\n").unwrap_or(password);
    Ok(RegistrarAccess {
        host: one_line("host")?,
        port,
        database: one_line("database")?,
        user: one_line("user")?,
        password: SecretBytes::copy_of(password),
        ca_pem,
    })
}

/// What of a login is no secret.
pub(super) fn connection(access: &RegistrarAccess) -> Connection {
    Connection {
        host: access.host.clone(),
        port: access.port,
        database: access.database.clone(),
        ca_pem: access.ca_pem.clone(),
    }
}
