//! `<realm>-<part>-tls`: a certificate with its key and what the holder trusts, written in one go. The annotations say what
//! is in it, so that nobody has to read it.

use std::time::Duration;

use keyrealm_base::Timestamp;
use keyrealm_crypto::sha256_hex;
use keyrealm_pki::{CurveAlgorithm, LeafSpec, LeafUsage};
use serde_json::json;

use super::body;
use crate::child::Child;
use crate::children::{Home, Part};

/// When the certificate ends, RFC 3339.
pub const NOT_AFTER: &str = "keyrealm.dev/not-after";
/// When it is renewed, RFC 3339.
pub const RENEWAL: &str = "keyrealm.dev/renewal";
/// SHA-256 of the chain, as the server reports it.
pub const CHAIN_SHA256: &str = "keyrealm.dev/chain-sha256";
/// SHA-256 of the bundle, as the server reports it.
pub const BUNDLE_SHA256: &str = "keyrealm.dev/bundle-sha256";
/// Hash of all that was asked for: names, algorithm, lifetime and issuer.
pub const NAMES_HASH: &str = "keyrealm.dev/names-hash";

/// What the name ends in.
#[must_use]
pub fn suffix(part: Part) -> String {
    format!("{}-tls", part.name())
}

/// What shall be in a leaf. A server is asked by its own name and by that of its Service, and by itself over loopback.
#[must_use]
pub fn spec(home: &Home<'_>, part: Part, lifetime: Duration) -> LeafSpec {
    let mut dns = vec![home.service_name(part)];
    let mut ips = Vec::new();
    if part != Part::Postgres {
        let (host, _) = home.hostname(part);
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => dns.insert(0, host.to_owned()),
        }
    }
    let common_name = format!("{}-{}", home.name, part.name());
    let usage = if part == Part::Postgres { LeafUsage::Server } else { LeafUsage::ServerAndClient };
    LeafSpec { common_name, organization: None, dns, ips, usage, lifetime }.and_loopback()
}

/// The hash of what was asked for, and of whom.
#[must_use]
pub fn names_hash(spec: &LeafSpec, algorithm: CurveAlgorithm, root_sha256: &str) -> String {
    let LeafSpec { common_name, organization, dns, ips, usage, lifetime } = spec;
    let organization = organization.as_deref().unwrap_or_default();
    let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
    let (usage, algorithm) = (*usage as u8, algorithm as u8);
    let asked = json!([common_name, organization, dns, ips, usage, lifetime.as_secs(), algorithm, root_sha256]);
    sha256_hex(asked.to_string().as_bytes())
}

/// When a leaf that was issued then is renewed: so long before its end, and up to a tenth of that earlier. How much earlier
/// follows from the Realm's UID, so that not all leaves of a cluster are renewed at once.
#[must_use]
pub fn renewal(not_after: Timestamp, renew_before: Duration, uid: &str, part: Part) -> Timestamp {
    let digest = keyrealm_crypto::sha256(format!("{uid} {}", part.name()).as_bytes());
    let [a, b, ..] = digest;
    let share = u32::from(u16::from_be_bytes([a, b]));
    let jitter = renew_before / 10 * share / u32::from(u16::MAX);
    not_after.minus(renew_before).minus(jitter)
}

/// A certificate that was issued.
pub struct Issued<'a> {
    /// The leaf and the CAs up to the root, PEM.
    pub chain_pem: &'a str,
    /// Its private key, PEM.
    pub key_pem: &'a str,
    /// What the holder trusts, PEM.
    pub bundle_pem: &'a str,
    /// SHA-256 of the chain.
    pub chain_sha256: String,
    /// See [`names_hash`].
    pub names_hash: String,
    /// Its end.
    pub not_after: Timestamp,
    /// When it is renewed.
    pub renewal: Timestamp,
}

/// The Secret of a part's certificate.
#[must_use]
pub fn of(home: &Home<'_>, part: Part, issued: Issued<'_>) -> Child {
    let entries: [(&str, &[u8]); 3] = [
        ("tls.crt", issued.chain_pem.as_bytes()),
        ("tls.key", issued.key_pem.as_bytes()),
        ("ca.crt", issued.bundle_pem.as_bytes()),
    ];
    let mut child =
        home.child(crate::child::ChildKind::Secret, &suffix(part), Some(part), body("kubernetes.io/tls", &entries));
    child.annotations.extend([
        (NOT_AFTER.to_owned(), issued.not_after.to_string()),
        (RENEWAL.to_owned(), issued.renewal.to_string()),
        (CHAIN_SHA256.to_owned(), issued.chain_sha256),
        (BUNDLE_SHA256.to_owned(), sha256_hex(issued.bundle_pem.as_bytes())),
        (NAMES_HASH.to_owned(), issued.names_hash),
    ]);
    child
}
