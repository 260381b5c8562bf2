//! Chains of every length verify, what they must not vouch for does not, and OpenSSL agrees.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrealm_base::{Clock, SystemClock, Timestamp};
use keyrealm_crypto::SystemRandom;
use keyrealm_pki::{
    CaChain, CertificateInfo, ChainSpec, CurveAlgorithm, LeafSpec, LeafUsage, NameConstraints, NameStyle, VerifyFor,
    certificates, private_key, verify_chain,
};

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn spec(length: usize) -> ChainSpec {
    ChainSpec { length, ..ChainSpec::new(NameStyle::Fqdn { prefix: "r.keyrealm.test".into() }) }
}

fn chain(spec: &ChainSpec) -> CaChain {
    CaChain::generate(spec, &SystemClock, &SystemRandom).unwrap()
}

fn server() -> LeafSpec {
    LeafSpec::new("kms.keyrealm.test", LeafUsage::Server).and_loopback()
}

/// The verdict on a leaf of `ca`, judged against the root of `trusted`.
fn verify(
    ca: &CaChain,
    trusted: &CaChain,
    leaf: &LeafSpec,
    purpose: &VerifyFor<'_>,
    at: Timestamp,
) -> Result<(), String> {
    let leaf = ca.issue_leaf(leaf, &SystemClock, &SystemRandom).map_err(|error| error.to_string())?;
    let leaf = certificates(leaf.chain_pem.as_bytes()).unwrap();
    let roots = certificates(trusted.trust_bundle_pem().as_bytes()).unwrap();
    verify_chain(&leaf, &roots, purpose, at).map_err(|error| error.to_string())
}

#[test]
fn every_length_verifies_under_its_names() {
    let now = SystemClock.now();
    for length in 2..=8 {
        let ca = chain(&spec(length));
        let leaf = ca.issue_leaf(&server(), &SystemClock, &SystemRandom).unwrap();
        assert_eq!(certificates(leaf.chain_pem.as_bytes()).unwrap().len(), length - 1, "all but the root");
        private_key(leaf.key_pem.as_bytes()).unwrap();
        for name in ["kms.keyrealm.test", "localhost", "127.0.0.1", "::1"] {
            assert_eq!(verify(&ca, &ca, &server(), &VerifyFor::Server(Some(name)), now), Ok(()), "{length} {name}");
        }
    }
}

/// What `openssl x509 -text` shows of a certificate in PEM.
fn openssl_text(pem: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-text"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The PEM texts of the single certificates.
fn each(pem: &str) -> Vec<&str> {
    pem.split_inclusive("-----END CERTIFICATE-----\n").collect()
}

/// Each curve signs with the hash of its strength, and goes on doing so when the chain was read back.
#[test]
fn a_curve_comes_with_its_hash() {
    for (algorithm, curve, hash) in [
        (CurveAlgorithm::P256, "P-256", "ecdsa-with-SHA256"),
        (CurveAlgorithm::P384, "P-384", "ecdsa-with-SHA384"),
        (CurveAlgorithm::P521, "P-521", "ecdsa-with-SHA512"),
    ] {
        let ca = chain(&ChainSpec { algorithm, ..spec(3) });
        let back = CaChain::from_pem(&ca.certificates_pem(), &ca.issuing_key_pem()).unwrap();
        let leaf = back.issue_leaf(&server(), &SystemClock, &SystemRandom).unwrap();
        for pem in each(&ca.certificates_pem()).into_iter().chain(each(&leaf.chain_pem)) {
            let text = openssl_text(pem);
            assert_eq!(text.matches(&format!("Signature Algorithm: {hash}")).count(), 2, "{text}");
            assert!(text.contains(&format!("NIST CURVE: {curve}")), "{text}");
        }
        for ca_used in [&ca, &back] {
            assert_eq!(verify(ca_used, &ca, &server(), &VerifyFor::Server(None), SystemClock.now()), Ok(()));
        }
    }
}

#[test]
fn wrong_host_ca_purpose_and_time_are_refused() {
    let (ca, other) = (chain(&spec(3)), chain(&spec(3)));
    let now = SystemClock.now();
    let client = LeafSpec::new("kms", LeafUsage::Client);
    let refuses = |trusted: &CaChain, leaf: &LeafSpec, purpose: VerifyFor<'_>, at| {
        verify(&ca, trusted, leaf, &purpose, at).unwrap_err()
    };
    assert!(refuses(&ca, &server(), VerifyFor::Server(Some("id.keyrealm.test")), now).contains("NotValidForName"));
    assert!(!refuses(&other, &server(), VerifyFor::Server(None), now).is_empty(), "another root of the same names");
    assert!(!refuses(&ca, &client, VerifyFor::Server(None), now).is_empty(), "a client leaf on a server");
    assert!(!refuses(&ca, &server(), VerifyFor::Client, now).is_empty(), "a server leaf as a client");
    let late = now.plus(Duration::from_hours(24 * 91));
    assert!(refuses(&ca, &server(), VerifyFor::Server(None), late).contains("CertExpired"));
    let early = now.minus(Duration::from_hours(3));
    assert!(refuses(&ca, &server(), VerifyFor::Server(None), early).contains("CertNotValidYet"));
}

#[test]
fn name_constraints_bind_the_leaf() {
    let constraints = NameConstraints {
        dns: vec!["keyrealm.test".into(), "localhost".into()],
        ip: vec![("127.0.0.0".parse().unwrap(), 8)],
    };
    let ca = chain(&ChainSpec { constraints, ..spec(3) });
    let now = SystemClock.now();
    let issue = |leaf: &LeafSpec| verify(&ca, &ca, leaf, &VerifyFor::Server(None), now);
    let own = LeafSpec::new("kms.keyrealm.test", LeafUsage::Server);
    assert_eq!(issue(&own), Ok(()));
    let foreign = LeafSpec::new("kms.example.test", LeafUsage::Server);
    assert!(issue(&foreign).is_err(), "a foreign name is refused when issued");
    assert!(issue(&LeafSpec { ips: vec!["10.0.0.1".parse().unwrap()], ..own }).is_err(), "a foreign address");
}

/// A CA that somebody made with the issuing CA's key breaks the path length.
#[test]
fn path_length_is_enforced() {
    let ca = chain(&spec(3));
    let grafted = {
        let key = rcgen::KeyPair::generate().unwrap();
        let issuing_key = rcgen::KeyPair::from_pem(&ca.issuing_key_pem()).unwrap();
        let cas = certificates(ca.certificates_pem().as_bytes()).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_der(&cas[1], issuing_key).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        CaChain::from_pem(&format!("{}{}", ca.certificates_pem(), certificate.pem()), &key.serialize_pem()).unwrap()
    };
    let refused = verify(&grafted, &ca, &server(), &VerifyFor::Server(None), SystemClock.now());
    assert!(refused.unwrap_err().contains("PathLenConstraintViolated"), "the intermediate allows no CA below it");
}

#[test]
fn a_chain_reads_back_and_refuses_a_foreign_key() {
    let ca = chain(&spec(3));
    let back = CaChain::from_pem(&ca.certificates_pem(), &ca.issuing_key_pem()).unwrap();
    assert_eq!(verify(&back, &ca, &server(), &VerifyFor::Server(None), SystemClock.now()), Ok(()));
    let other = chain(&spec(3));
    let refused = CaChain::from_pem(&ca.certificates_pem(), &other.issuing_key_pem()).err().unwrap();
    assert!(refused.to_string().contains("not the key of `intermediate.ca.r.keyrealm.test`"), "{refused}");
    assert!(CaChain::from_pem("", &ca.issuing_key_pem()).is_err());
    assert!(certificates(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err());
}

#[test]
fn specifications_out_of_bounds_say_what_is_allowed() {
    let make = |spec: &ChainSpec| CaChain::generate(spec, &SystemClock, &SystemRandom).err().unwrap().to_string();
    assert!(make(&spec(1)).contains("2 to 8") && make(&spec(9)).contains("2 to 8"));
    assert!(make(&ChainSpec { lifetime: Duration::from_hours(24 * 365 * 26), ..spec(3) }).contains("25 years"));
    assert!(make(&ChainSpec::new(NameStyle::Fqdn { prefix: "not a name".into() })).contains("`not a name`"));
    // `intermediate.ca.` and ` Intermediate CA` have 16 characters, of the 64 of a common name.
    let fqdn = |length| ChainSpec::new(NameStyle::Fqdn { prefix: "r".repeat(length) });
    let descriptive = |length| ChainSpec::new(NameStyle::Descriptive { name: "\u{c4}".repeat(length) });
    for spec in [fqdn(48), descriptive(48)] {
        chain(&spec);
    }
    assert!(make(&fqdn(49)).contains("more than 64") && make(&descriptive(49)).contains("more than 64"));
    assert!(make(&descriptive(0)).contains("empty"));
    let dns = |name: &str| NameConstraints { dns: vec![name.into()], ip: vec![] };
    let ip = |ip: &str, length| NameConstraints { dns: vec![], ip: vec![(ip.parse().unwrap(), length)] };
    for (constraints, said) in [
        (dns(".keyrealm.test"), "`.keyrealm.test`"),
        (dns("*.keyrealm.test"), "`*.keyrealm.test`"),
        (dns(""), "no DNS name"),
        (ip("10.0.0.0", 33), "10.0.0.0/33"),
        (ip("fd00::", 129), "fd00::/129"),
    ] {
        let refused = make(&ChainSpec { constraints, ..spec(3) });
        assert!(refused.contains("name constraint") && refused.contains(said), "{refused}");
    }
    for constraints in [ip("10.0.0.1", 32), ip("::1", 128)] {
        chain(&ChainSpec { constraints, ..spec(3) });
    }
    let ca = chain(&ChainSpec { lifetime: Duration::from_hours(48), ..spec(3) });
    let leaf = |leaf: &LeafSpec| ca.issue_leaf(leaf, &SystemClock, &SystemRandom).err().unwrap().to_string();
    assert!(leaf(&server()).contains("outlive"));
    assert!(leaf(&LeafSpec { lifetime: Duration::from_hours(24 * 399), ..server() }).contains("398 days"));
    assert!(leaf(&LeafSpec::new("*.keyrealm.test", LeafUsage::Server)).contains("no DNS name"));
    assert!(leaf(&LeafSpec { dns: vec![], ips: vec![], ..server() }).contains("at least one"));
    assert!(leaf(&server().with_organization("")).contains("organization: must have 1 to 64"));
    assert!(leaf(&server().with_organization("o".repeat(65))).contains("organization: must have 1 to 64"));
}

/// Kubernetes takes the user from the common name and the group from the organization.
#[test]
fn a_leaf_carries_its_organization() {
    let ca = chain(&spec(3));
    let info = |spec: &LeafSpec| {
        let leaf = ca.issue_leaf(spec, &SystemClock, &SystemRandom).unwrap();
        CertificateInfo::parse(&certificates(leaf.chain_pem.as_bytes()).unwrap()[0]).unwrap()
    };
    let admin = LeafSpec::new("admin", LeafUsage::Client);
    let made = info(&admin.clone().with_organization("system:masters"));
    assert_eq!((made.subject.as_str(), made.organization.as_deref()), ("admin", Some("system:masters")));
    assert_eq!(info(&admin.clone().with_organization("o".repeat(64))).organization.unwrap().len(), 64);
    assert_eq!(info(&admin).organization, None);
}

#[test]
fn a_pem_text_holds_one_private_key() {
    let ca = chain(&spec(3));
    let leaf = ca.issue_leaf(&server(), &SystemClock, &SystemRandom).unwrap();
    let refused = |text: String| private_key(text.as_bytes()).unwrap_err().to_string();
    assert!(private_key(format!("{}{}", leaf.chain_pem, *leaf.key_pem).as_bytes()).is_ok(), "beside certificates");
    assert!(refused(format!("{}{}", *leaf.key_pem, *ca.issuing_key_pem())).contains("more than one"));
    assert!(refused(leaf.chain_pem).contains("there is no"));
}

#[test]
fn dates_are_moved_back_and_serials_are_long_and_different() {
    let now = Timestamp::from_seconds(1_800_000_000);
    let ca = CaChain::generate(&spec(3), &At(now), &SystemRandom).unwrap();
    let mut all = certificates(ca.certificates_pem().as_bytes()).unwrap();
    for _ in 0..32 {
        let leaf = ca.issue_leaf(&server(), &At(now), &SystemRandom).unwrap();
        all.push(certificates(leaf.chain_pem.as_bytes()).unwrap().swap_remove(0));
    }
    let mut serials = std::collections::HashSet::new();
    for certificate in &all {
        let info = CertificateInfo::parse(certificate).unwrap();
        let back = now.since(info.not_before);
        assert!((Duration::from_mins(1)..=Duration::from_mins(120)).contains(&back), "{back:?}");
        assert_eq!((info.serial.len(), info.serial[0] >> 6), (16, 1), "{:x?}", info.serial);
        assert!(serials.insert(info.serial), "one serial twice");
    }
    assert_eq!(serials.len(), 34);
}

/// `openssl verify` takes the chain, and `openssl x509 -text` shows what RFC 5280 asks for.
#[test]
fn openssl_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let constraints = NameConstraints {
        dns: vec!["keyrealm.test".into(), "localhost".into()],
        ip: vec![("127.0.0.0".parse().unwrap(), 8), ("::1".parse().unwrap(), 128)],
    };
    let ca = chain(&ChainSpec { constraints, ..spec(4) });
    let leaf = ca.issue_leaf(&server(), &SystemClock, &SystemRandom).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("root.pem"), ca.trust_bundle_pem()).unwrap();
    std::fs::write(path("between.pem"), ca.certificates_pem()).unwrap();
    std::fs::write(path("leaf.pem"), &leaf.chain_pem).unwrap();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let verified = openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-verify_hostname",
        "kms.keyrealm.test",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "between.pem",
        "leaf.pem",
    ]);
    assert!(verified.contains("leaf.pem: OK"), "{verified}");
    let cas: Vec<String> = each(&ca.certificates_pem()).into_iter().map(openssl_text).collect();
    for (text, (name, path)) in cas.iter().zip([("root", 2), ("policy", 1), ("issuing", 0)]) {
        for needed in [
            &format!("Subject: CN = {name}.ca.r.keyrealm.test"),
            "X509v3 Basic Constraints: critical",
            &format!("CA:TRUE, pathlen:{path}"),
            "X509v3 Key Usage: critical",
            "Certificate Sign, CRL Sign",
            "X509v3 Name Constraints: critical",
            "DNS:keyrealm.test",
            "IP:127.0.0.0/255.0.0.0",
        ] {
            assert!(text.contains(needed), "{needed} in {text}");
        }
    }
    let text = openssl_text(each(&leaf.chain_pem)[0]);
    // Each certificate names its issuer's key as that names itself (RFC 5280, section 4.2.1.1).
    let identifier = |text: &str, kind: &str| {
        let (_, after) = text.split_once(&format!("{kind} Key Identifier:")).unwrap();
        after.trim_start().lines().next().unwrap().trim_start_matches("keyid:").to_owned()
    };
    let chain: Vec<&String> = cas.iter().chain([&text]).collect();
    for pair in chain.windows(2) {
        let (issuer, subject) = (identifier(pair[0], "Subject"), identifier(pair[1], "Authority"));
        assert!(issuer == subject && issuer.len() >= 59, "{issuer} and {subject}");
    }
    for needed in [
        "CN = issuing.ca.r.keyrealm.test",
        "TLS Web Server Authentication",
        "Digital Signature",
        "CA:FALSE",
        "Authority Key Identifier",
        "Subject Key Identifier",
        "DNS:localhost",
        "IP Address:127.0.0.1",
    ] {
        assert!(text.contains(needed), "{needed} in {text}");
    }
}
