//! A CA chain: made at once from the root down, then used to issue leaves with the lowest key only.

use std::time::Duration;

use keyrealm_base::{Clock, Random, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::names::ca_names;
use crate::pem::{self, to_pem};
use crate::{ChainSpec, LeafSpec, LeafUsage, PkiError, VerifyFor, verify_chain};

/// The CA certificates, root first, and the key of the lowest. The keys above it are gone once the chain is made, unless
/// the root's was asked for.
pub struct CaChain {
    certificates: Vec<CertificateDer<'static>>,
    // The library's key pair zeroizes only when told to.
    issuing_key: Zeroizing<KeyPair>,
}

/// An issued leaf.
pub struct Leaf {
    /// The leaf and the CAs between it and the root, in PEM.
    pub chain_pem: String,
    /// The private key, PKCS#8 in PEM.
    pub key_pem: Zeroizing<String>,
}

impl CaChain {
    /// Makes a chain.
    ///
    /// # Errors
    /// When the specification is out of bounds or the library fails.
    pub fn generate(spec: &ChainSpec, clock: &dyn Clock, random: &dyn Random) -> Result<Self, PkiError> {
        Self::generate_with_root_key(spec, clock, random).map(|(chain, _)| chain)
    }

    /// As [`CaChain::generate`], and the root's key, PKCS#8 in PEM, for whoever keeps it: with it a new chain can be put below
    /// the same root.
    ///
    /// # Errors
    /// As [`CaChain::generate`].
    pub fn generate_with_root_key(
        spec: &ChainSpec,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<(Self, Zeroizing<String>), PkiError> {
        spec.check()?;
        let now = clock.now();
        let names = ca_names(&spec.style, spec.length);
        let mut certificates: Vec<CertificateDer<'static>> = Vec::with_capacity(names.len());
        let mut above: Option<Zeroizing<KeyPair>> = None;
        let mut root_key = Zeroizing::new(String::new());
        for (depth, name) in names.iter().enumerate() {
            let failed = |error: rcgen::Error| PkiError::Issue { subject: name.clone(), reason: error.to_string() };
            let key = Zeroizing::new(KeyPair::generate_for(spec.algorithm.rcgen()).map_err(failed)?);
            let below = names.len() - 1 - depth;
            let params = ca_params(spec, name, below, now, random);
            if depth == 0 {
                root_key = Zeroizing::new(key.serialize_pem());
            }
            let certificate = match (&above, certificates.last()) {
                (Some(issuer_key), Some(issuer)) => {
                    let issuer = Issuer::from_ca_cert_der(issuer, &**issuer_key).map_err(failed)?;
                    params.signed_by(&*key, &issuer)
                }
                _ => params.self_signed(&*key),
            };
            certificates.push(certificate.map_err(failed)?.der().clone());
            above = Some(key);
        }
        let issuing_key = above.ok_or_else(|| PkiError::Spec { field: "chain length", reason: "is 0".to_owned() })?;
        Ok((Self { certificates, issuing_key }, root_key))
    }

    /// Reads a chain back: the CA certificates, root first, and the key of the last one.
    ///
    /// # Errors
    /// When the texts are not PEM, or the key is not that of the last certificate.
    pub fn from_pem(certificates: &str, issuing_key: &str) -> Result<Self, PkiError> {
        let certificates = pem::certificates(certificates.as_bytes())?;
        let bad = |reason: String| PkiError::Pem { what: "the issuing CA's key", reason };
        let issuing_key = Zeroizing::new(KeyPair::from_pem(issuing_key).map_err(|error| bad(error.to_string()))?);
        let last = certificates.last().ok_or_else(|| bad("there is no certificate".to_owned()))?;
        let info = crate::CertificateInfo::parse(last)?;
        if info.public_key != issuing_key.public_key_raw() {
            return Err(bad(format!("it is not the key of `{}`", info.subject)));
        }
        Ok(Self { certificates, issuing_key })
    }

    /// The CA certificates, root first, in PEM.
    #[must_use]
    pub fn certificates_pem(&self) -> String {
        to_pem(&self.certificates)
    }

    /// The key of the lowest CA, PKCS#8 in PEM.
    #[must_use]
    pub fn issuing_key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuing_key.serialize_pem())
    }

    /// The root certificate in PEM: what verifiers are given.
    #[must_use]
    pub fn trust_bundle_pem(&self) -> String {
        to_pem(self.certificates.get(..1).unwrap_or_default())
    }

    /// Issues a leaf with a fresh key, and verifies it before it is handed out.
    ///
    /// # Errors
    /// When the specification is out of bounds, the leaf would outlive its CA, or breaks a name constraint.
    pub fn issue_leaf(&self, spec: &LeafSpec, clock: &dyn Clock, random: &dyn Random) -> Result<Leaf, PkiError> {
        spec.check()?;
        let now = clock.now();
        let failed = |reason: String| PkiError::Issue { subject: spec.common_name.clone(), reason };
        let issuer_certificate = self.certificates.last().ok_or_else(|| failed("the chain is empty".to_owned()))?;
        if crate::CertificateInfo::parse(issuer_certificate)?.not_after < now.plus(spec.lifetime) {
            return Err(failed("it would outlive its CA; give a shorter lifetime or a new chain".to_owned()));
        }
        let lower = |error: rcgen::Error| failed(error.to_string());
        let issuer = Issuer::from_ca_cert_der(issuer_certificate, &*self.issuing_key).map_err(lower)?;
        let key = Zeroizing::new(KeyPair::generate_for(self.issuing_key.algorithm()).map_err(lower)?);
        let certificate = leaf_params(spec, now, random)?.signed_by(&*key, &issuer).map_err(lower)?;
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.certificates.iter().skip(1).rev().cloned());
        let purpose = if spec.usage == LeafUsage::Client { VerifyFor::Client } else { VerifyFor::Server(None) };
        verify_chain(&chain, self.certificates.get(..1).unwrap_or_default(), &purpose, now)?;
        Ok(Leaf { chain_pem: to_pem(&chain), key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

fn ca_params(spec: &ChainSpec, name: &str, cas_below: usize, now: Timestamp, random: &dyn Random) -> CertificateParams {
    let mut params = base_params(name, now, spec.lifetime, random);
    // RFC 5280, section 4.2.1.9: how many CAs may follow below this one.
    let path = u8::try_from(cas_below).unwrap_or(u8::MAX);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let dns = spec.constraints.dns.iter().cloned().map(GeneralSubtree::DnsName);
    let ip =
        spec.constraints.ip.iter().map(|(ip, len)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*ip, *len)));
    let permitted: Vec<GeneralSubtree> = dns.chain(ip).collect();
    if !permitted.is_empty() {
        params.name_constraints =
            Some(rcgen::NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
    }
    params
}

fn leaf_params(spec: &LeafSpec, now: Timestamp, random: &dyn Random) -> Result<CertificateParams, PkiError> {
    let mut params = base_params(&spec.common_name, now, spec.lifetime, random);
    if let Some(organization) = &spec.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
    }
    for name in &spec.dns {
        let name = name
            .as_str()
            .try_into()
            .map_err(|error: rcgen::Error| PkiError::Spec { field: "DNS name", reason: error.to_string() })?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.subject_alt_names.extend(spec.ips.iter().copied().map(SanType::IpAddress));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match spec.usage {
        LeafUsage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        LeafUsage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        LeafUsage::ServerAndClient => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    Ok(params)
}

/// Name, time and serial number, the same for every certificate.
fn base_params(name: &str, now: Timestamp, lifetime: Duration, random: &dyn Random) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Moved back by 1 to 120 minutes, for clocks that are behind.
    let [a, b] = random.bytes::<2>();
    let back = Duration::from_mins(1 + u64::from(u16::from_be_bytes([a, b])) % 120);
    params.not_before = now.minus(back).to_offset_date_time();
    params.not_after = now.plus(lifetime).to_offset_date_time();
    // 128 bits, the two highest 01: positive, and always 16 bytes long.
    let mut serial: [u8; 16] = random.bytes();
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    params
}
