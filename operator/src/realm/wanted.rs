//! What a Realm asks for, read and checked: what the API server's rules cannot see is found here, before anything is made.

use std::net::IpAddr;
use std::time::Duration;

use crds::{NameStyle, TlsAlgorithm};
use keyrealm_pki::{ChainSpec, CurveAlgorithm, NameConstraints};

use crate::children::{Home, Part};
use crate::duration;

/// A CA name has at most 64 characters (RFC 5280, appendix A.1), the longest word before it included.
const LONGEST_PREFIX: usize = 64 - "intermediate.ca.".len();

/// What a Realm asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The CAs, where they are generated.
    pub chain: ChainSpec,
    /// Life of leaves.
    pub leaf_lifetime: Duration,
    /// How long before its end a leaf is renewed.
    pub renew_before: Duration,
}

impl Wanted {
    /// Reads a Realm.
    ///
    /// # Errors
    /// With the field and what it must be.
    pub fn of(home: &Home<'_>) -> Result<Self, String> {
        for (field, part) in [("hostnames.kms", Part::Kms), ("hostnames.identity", Part::Identity)] {
            check_host(home, field, part)?;
        }
        let (kms, identity) = (home.hostname(Part::Kms), home.hostname(Part::Identity));
        if kms == identity {
            return Err("hostnames: kms and identity are the same; give each its own name or port".to_owned());
        }
        if home.is_managed() && home.spec.profile == crds::Profile::Prod {
            return Err("database.managed: is for dev, demo and ci; in profile prod give database.external".to_owned());
        }
        let tls = &home.spec.tls;
        let ca_lifetime = read("tls.caLifetime", &tls.ca_lifetime)?;
        let leaf_lifetime = read("tls.leafLifetime", &tls.leaf_lifetime)?;
        let renew_before = read("tls.renewBefore", &tls.renew_before)?;
        // A tenth of it is the jitter.
        if renew_before.mul_f64(1.1) >= leaf_lifetime {
            return Err("tls.renewBefore: must be shorter than ten elevenths of tls.leafLifetime".to_owned());
        }
        if leaf_lifetime > Duration::from_hours(24 * 398) || leaf_lifetime < Duration::from_mins(2) {
            return Err("tls.leafLifetime: must be between 2m and 9552h (398 days)".to_owned());
        }
        let chain = ChainSpec {
            length: usize::try_from(tls.chain_length).unwrap_or_default(),
            style: style(home),
            algorithm: algorithm(tls.algorithm),
            lifetime: ca_lifetime,
            constraints: constraints(home),
        };
        Ok(Self { chain, leaf_lifetime, renew_before })
    }
}

/// Curve and hash.
#[must_use]
pub fn algorithm(algorithm: TlsAlgorithm) -> CurveAlgorithm {
    match algorithm {
        TlsAlgorithm::P256 => CurveAlgorithm::P256,
        TlsAlgorithm::P384 => CurveAlgorithm::P384,
        TlsAlgorithm::P521 => CurveAlgorithm::P521,
    }
}

fn style(home: &Home<'_>) -> keyrealm_pki::NameStyle {
    match home.spec.tls.name_style {
        NameStyle::Descriptive => keyrealm_pki::NameStyle::Descriptive { name: home.name.to_owned() },
        NameStyle::Fqdn => {
            let full = format!("{}.{}", home.name, home.namespace);
            // Without the namespace where there is no room for it.
            let prefix = if full.len() > LONGEST_PREFIX { home.name.to_owned() } else { full };
            keyrealm_pki::NameStyle::Fqdn { prefix }
        }
    }
}

/// The realm's CAs vouch for its own names, Services and loopback, and for nothing else in the world.
fn constraints(home: &Home<'_>) -> NameConstraints {
    let mut constraints = NameConstraints {
        dns: vec!["svc".to_owned(), "localhost".to_owned()],
        ip: vec![(IpAddr::from([127, 0, 0, 1]), 32), (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]), 128)],
    };
    for part in [Part::Identity, Part::Kms] {
        let (host, _) = home.hostname(part);
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => constraints.ip.push((ip, if ip.is_ipv4() { 32 } else { 128 })),
            Err(_) if constraints.dns.iter().any(|name| name == host) => {}
            Err(_) => constraints.dns.push(host.to_owned()),
        }
    }
    constraints
}

fn check_host(home: &Home<'_>, field: &str, part: Part) -> Result<(), String> {
    let (host, port) = home.hostname(part);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_ip = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if !is_ip && (host.len() > 253 || !host.split('.').all(label)) {
        return Err(format!("{field}: `{host}` is no host name in lower case, such as kms.example.com"));
    }
    let given = if part == Part::Identity { &home.spec.hostnames.identity } else { &home.spec.hostnames.kms };
    if *given != host && *given != format!("{host}:{port}") {
        return Err(format!("{field}: `{given}` must be host or host:port"));
    }
    if port == 0 || port == part.mtls_port() {
        return Err(format!("{field}: the port {port} is taken by the listener for callers with a certificate"));
    }
    Ok(())
}

fn read(field: &str, text: &str) -> Result<Duration, String> {
    duration::positive(text).ok_or_else(|| format!("{field}: `{text}` is no duration such as 2160h or 1h30m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_is_none_is_told_with_its_field() {
        assert_eq!(read("f", "1h30m5s250ms"), Ok(Duration::from_millis(5_405_250)));
        for bad in ["5d", "0h"] {
            assert!(read("f", bad).unwrap_err().contains(&format!("f: `{bad}`")), "{bad}");
        }
    }
}
