//! What a chain and a leaf shall be, with the bounds that are checked before anything is made.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::SignatureAlgorithm;

use crate::names::ca_names;
use crate::{NameStyle, PkiError};

const DAY: Duration = Duration::from_hours(24);
const MAX_CA_LIFETIME: Duration = Duration::from_hours(24 * 365 * 25);
const MAX_LEAF_LIFETIME: Duration = Duration::from_hours(24 * 398);
/// Characters of a common name or an organization (RFC 5280, appendix A.1: ub-common-name, ub-organization-name).
const MAX_NAME: usize = 64;

/// A curve with the hash of its strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CurveAlgorithm {
    /// P-256 with SHA-256.
    #[default]
    P256,
    /// P-384 with SHA-384.
    P384,
    /// P-521 with SHA-512.
    P521,
}

impl CurveAlgorithm {
    pub(crate) fn rcgen(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        }
    }
}

/// The names that certificates below the CAs may have (RFC 5280, section 4.2.1.10). An empty list leaves that kind of
/// name free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// DNS names and all below them.
    pub dns: Vec<String>,
    /// Address ranges as address and prefix length.
    pub ip: Vec<(IpAddr, u8)>,
}

impl NameConstraints {
    fn check(&self) -> Result<(), PkiError> {
        self.dns.iter().try_for_each(|name| check_dns("name constraint", name))?;
        let bits = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        match self.ip.iter().find(|(ip, length)| *length > bits(ip)) {
            Some((ip, length)) => {
                let reason = format!("{ip}/{length} has a prefix length over {}", bits(ip));
                Err(PkiError::Spec { field: "name constraint", reason })
            }
            None => Ok(()),
        }
    }
}

/// A CA chain to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSpec {
    /// All certificates, from the root to the leaf: 2 to 8, 3 by default.
    pub length: usize,
    /// How the CAs are named.
    pub style: NameStyle,
    /// Curve and hash of all CA keys.
    pub algorithm: CurveAlgorithm,
    /// Life of the CAs, at most 25 years.
    pub lifetime: Duration,
    /// Names that the chain may vouch for.
    pub constraints: NameConstraints,
}

impl ChainSpec {
    /// Root, intermediate and leaf on P-256, ten years.
    #[must_use]
    pub fn new(style: NameStyle) -> Self {
        let lifetime = DAY * 3650;
        Self { length: 3, style, algorithm: CurveAlgorithm::P256, lifetime, constraints: NameConstraints::default() }
    }

    pub(crate) fn check(&self) -> Result<(), PkiError> {
        let refuse = |field, reason: String| Err(PkiError::Spec { field, reason });
        if !(2..=8).contains(&self.length) {
            return refuse("chain length", format!("{} is not 2 to 8 (the leaf counted)", self.length));
        }
        if self.lifetime < DAY || self.lifetime > MAX_CA_LIFETIME {
            return refuse("CA lifetime", "must be between 1 day and 25 years".to_owned());
        }
        match &self.style {
            NameStyle::Fqdn { prefix } => check_dns("CA name prefix", prefix)?,
            NameStyle::Descriptive { name } if name.trim().is_empty() => {
                return refuse("CA name", "must not be empty".to_owned());
            }
            NameStyle::Descriptive { .. } => {}
        }
        if let Some(long) = ca_names(&self.style, self.length).iter().find(|name| name.chars().count() > MAX_NAME) {
            return refuse("CA name", format!("`{long}` has more than {MAX_NAME} characters (RFC 5280, appendix A.1)"));
        }
        self.constraints.check()
    }
}

/// What a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafUsage {
    /// A TLS server.
    Server,
    /// A TLS client.
    Client,
    /// A service that is both.
    ServerAndClient,
}

/// A leaf certificate to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSpec {
    /// The common name.
    pub common_name: String,
    /// The organization: Kubernetes reads the group of a client from it.
    pub organization: Option<String>,
    /// DNS names, `*` not allowed.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// What it is for.
    pub usage: LeafUsage,
    /// Life, at most 398 days.
    pub lifetime: Duration,
}

impl LeafSpec {
    /// A leaf for 90 days under its own DNS name.
    #[must_use]
    pub fn new(common_name: impl Into<String>, usage: LeafUsage) -> Self {
        let common_name = common_name.into();
        let dns = vec![common_name.clone()];
        Self { common_name, organization: None, dns, ips: Vec::new(), usage, lifetime: DAY * 90 }
    }

    /// With this organization.
    #[must_use]
    pub fn with_organization(mut self, organization: impl Into<String>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// Also for `localhost`, 127.0.0.1 and ::1.
    #[must_use]
    pub fn and_loopback(mut self) -> Self {
        if !self.dns.iter().any(|name| name == "localhost") {
            self.dns.push("localhost".to_owned());
        }
        self.ips.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16])]);
        self
    }

    pub(crate) fn check(&self) -> Result<(), PkiError> {
        let refuse = |field, reason: String| Err(PkiError::Spec { field, reason });
        let fits = |name: &str| (1..=MAX_NAME).contains(&name.chars().count());
        let bounds = || format!("must have 1 to {MAX_NAME} characters (RFC 5280, appendix A.1)");
        if !fits(&self.common_name) {
            return refuse("common name", bounds());
        }
        if self.organization.as_deref().is_some_and(|name| !fits(name)) {
            return refuse("organization", bounds());
        }
        if self.lifetime < Duration::from_mins(1) || self.lifetime > MAX_LEAF_LIFETIME {
            return refuse("leaf lifetime", "must be between 1 minute and 398 days".to_owned());
        }
        if self.dns.is_empty() && self.ips.is_empty() {
            return refuse("leaf names", "give at least one DNS name or address".to_owned());
        }
        self.dns.iter().try_for_each(|name| check_dns("DNS name", name))
    }
}

/// RFC 1123 labels: at most 63 characters each, 253 in all.
fn check_dns(field: &'static str, name: &str) -> Result<(), PkiError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(())
    } else {
        Err(PkiError::Spec {
            field,
            reason: format!("`{name}` is no DNS name (labels of 1-63 letters, digits, hyphens)"),
        })
    }
}
