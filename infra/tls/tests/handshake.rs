//! Real handshakes over loopback: who is let in, who is not, and what a replaced certificate does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyrealm_base::{Clock, SystemClock, Timestamp};
use keyrealm_crypto::SystemRandom;
use keyrealm_pki::{CaChain, ChainSpec, Leaf, LeafSpec, LeafUsage, NameStyle, certificates};
use keyrealm_tls::{
    ClientAuth, Identity, IdentityFiles, ReloadingIdentity, TlsError, TrustBundle, client_config, server_config,
    write_private, write_public,
};
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Ca {
    chain: CaChain,
    trust: TrustBundle,
}

fn ca() -> Ca {
    ca_made(&SystemClock)
}

fn ca_made(clock: &dyn Clock) -> Ca {
    let spec = ChainSpec::new(NameStyle::Fqdn { prefix: "r.keyrealm.test".into() });
    let chain = CaChain::generate(&spec, clock, &SystemRandom).unwrap();
    let trust = TrustBundle::from_pem(chain.trust_bundle_pem().as_bytes(), SystemClock.now()).unwrap();
    Ca { chain, trust }
}

impl Ca {
    fn leaf(&self, usage: LeafUsage) -> Leaf {
        self.leaf_made(usage, &SystemClock)
    }

    fn leaf_made(&self, usage: LeafUsage, clock: &dyn Clock) -> Leaf {
        let spec = LeafSpec::new("service.keyrealm.test", usage).and_loopback();
        self.chain.issue_leaf(&spec, clock, &SystemRandom).unwrap()
    }

    fn identity(&self, usage: LeafUsage) -> Arc<ReloadingIdentity> {
        self.identity_made(usage, &SystemClock)
    }

    /// Issued and loaded at that time.
    fn identity_made(&self, usage: LeafUsage, clock: &dyn Clock) -> Arc<ReloadingIdentity> {
        let leaf = self.leaf_made(usage, clock);
        let now = clock.now();
        ReloadingIdentity::new(
            Identity::from_pem(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes(), &self.trust, now).unwrap(),
        )
    }
}

/// A hundred days ago, when leaves were issued that ended ten days ago.
struct LongAgo;

impl Clock for LongAgo {
    fn now(&self) -> Timestamp {
        SystemClock.now().minus(Duration::from_hours(24 * 100))
    }
}

/// Answers each byte with itself.
async fn echo(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            });
        }
    });
    address
}

async fn connect(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(config).connect(name, socket).await?;
    // A refused client certificate shows only when the server answers (RFC 8446, section 4.6.2).
    exchange(&mut stream).await?;
    Ok(stream)
}

async fn exchange(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    let mut byte = [0];
    stream.write_all(b"x").await?;
    stream.read_exact(&mut byte).await.map(drop)
}

#[tokio::test]
async fn names_cas_and_purposes_are_checked() {
    let (ca, other) = (ca(), ca());
    let server = echo(server_config(&ca.identity(LeafUsage::Server), &ClientAuth::None).unwrap()).await;
    let trusting = client_config(&ca.trust, None).unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "service.keyrealm.test"] {
        connect(server, name, Arc::clone(&trusting)).await.unwrap();
    }
    let stream = connect(server, "localhost", Arc::clone(&trusting)).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert!(connect(server, "other.keyrealm.test", trusting).await.is_err(), "wrong host");
    let foreign = client_config(&other.trust, None).unwrap();
    assert!(connect(server, "localhost", foreign).await.is_err(), "wrong CA");
    let wrong = echo(server_config(&ca.identity(LeafUsage::Client), &ClientAuth::None).unwrap()).await;
    assert!(
        connect(wrong, "localhost", client_config(&ca.trust, None).unwrap()).await.is_err(),
        "client leaf on a server"
    );
}

#[tokio::test]
async fn client_certificates_are_required_optional_or_not_asked() {
    let (ca, other) = (ca(), ca());
    let own = ca.identity(LeafUsage::Server);
    let good = client_config(&ca.trust, Some(&ca.identity(LeafUsage::Client))).unwrap();
    let none = client_config(&ca.trust, None).unwrap();
    let foreign = client_config(&ca.trust, Some(&other.identity(LeafUsage::Client))).unwrap();
    let purpose = client_config(&ca.trust, Some(&ca.identity(LeafUsage::Server))).unwrap();
    for (clients, expected) in [
        (ClientAuth::Required(&ca.trust), [true, false, false, false]),
        (ClientAuth::Optional(&ca.trust), [true, true, false, false]),
        (ClientAuth::None, [true, true, true, true]),
    ] {
        let server = echo(server_config(&own, &clients).unwrap()).await;
        for (config, expected) in [&good, &none, &foreign, &purpose].into_iter().zip(expected) {
            assert_eq!(connect(server, "localhost", Arc::clone(config)).await.is_ok(), expected);
        }
    }
}

#[tokio::test]
async fn expired_certificates_are_refused_on_both_sides() {
    let ca = ca_made(&LongAgo);
    let fresh = server_config(&ca.identity(LeafUsage::Server), &ClientAuth::Required(&ca.trust)).unwrap();
    let fresh = echo(fresh).await;
    let client = client_config(&ca.trust, Some(&ca.identity(LeafUsage::Client))).unwrap();
    connect(fresh, "localhost", Arc::clone(&client)).await.unwrap();
    let expired = client_config(&ca.trust, Some(&ca.identity_made(LeafUsage::Client, &LongAgo))).unwrap();
    let refused = connect(fresh, "localhost", expired).await.err().unwrap().to_string();
    assert!(refused.contains("CertificateExpired"), "{refused}");
    let expired = ca.identity_made(LeafUsage::Server, &LongAgo);
    let expired = echo(server_config(&expired, &ClientAuth::None).unwrap()).await;
    let refused = connect(expired, "localhost", client).await.err().unwrap().to_string();
    assert!(refused.to_lowercase().contains("expired"), "{refused}");
}

/// Where client certificates count, each connection shows and proves its own.
#[tokio::test]
async fn sessions_with_client_certificates_are_never_resumed() {
    let ca = ca();
    let own = ca.identity(LeafUsage::Server);
    for (clients, second) in [
        (ClientAuth::None, HandshakeKind::Resumed),
        (ClientAuth::Optional(&ca.trust), HandshakeKind::Full),
        (ClientAuth::Required(&ca.trust), HandshakeKind::Full),
    ] {
        let server = echo(server_config(&own, &clients).unwrap()).await;
        let client = client_config(&ca.trust, Some(&ca.identity(LeafUsage::Client))).unwrap();
        for expected in [HandshakeKind::Full, second] {
            let stream = connect(server, "localhost", Arc::clone(&client)).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        }
    }
}

/// `openssl s_client` with TLS 1.2 is refused, with TLS 1.3 it verifies our chain.
#[tokio::test]
async fn openssl_gets_tls_1_3_and_no_tls_1_2() {
    let ca = ca();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), ca.chain.trust_bundle_pem()).unwrap();
    let server = echo(server_config(&ca.identity(LeafUsage::Server), &ClientAuth::None).unwrap()).await;
    let s_client = |version: &'static str| {
        let mut command = tokio::process::Command::new("openssl");
        command.args([
            "s_client",
            version,
            "-CAfile",
            "ca.pem",
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
        ]);
        command.args(["-servername", "localhost", "-connect", &server.to_string()]).current_dir(folder.path());
        command.stdin(std::process::Stdio::null());
        async move { command.output().await.unwrap() }
    };
    let (old, new) = (s_client("-tls1_2").await, s_client("-tls1_3").await);
    assert!(!old.status.success());
    let text = String::from_utf8_lossy(&new.stdout).into_owned();
    assert!(new.status.success() && text.contains("Verification: OK") && text.contains("TLSv1.3"), "{text}");
    assert_eq!(text.matches("-----BEGIN").count(), 1);
    assert!(text.contains("intermediate.ca.r.keyrealm.test"), "the intermediate is sent along: {text}");
}

fn put(folder: &Path, leaf: &Leaf) -> IdentityFiles {
    let files = IdentityFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    write_public(&files.certificate, leaf.chain_pem.as_bytes()).unwrap();
    write_private(&files.key, leaf.key_pem.as_bytes()).unwrap();
    files
}

async fn served(address: SocketAddr, ca: &Ca) -> Vec<u8> {
    let stream = connect(address, "localhost", client_config(&ca.trust, None).unwrap()).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn leaf_der(leaf: &Leaf) -> Vec<u8> {
    certificates(leaf.chain_pem.as_bytes()).unwrap()[0].to_vec()
}

async fn until_served(address: SocketAddr, ca: &Ca, leaf: &Leaf) {
    for _ in 0..100 {
        if served(address, ca).await == leaf_der(leaf) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new certificate is not served");
}

#[tokio::test]
async fn a_replaced_certificate_is_served_and_drops_no_connection() {
    let ca = ca();
    let folder = tempfile::tempdir().unwrap();
    let first = ca.leaf(LeafUsage::Server);
    let files = put(folder.path(), &first);
    let (identity, _watch) = ReloadingIdentity::watch(files, ca.trust.clone(), Arc::new(SystemClock)).unwrap();
    let server = echo(server_config(&identity, &ClientAuth::None).unwrap()).await;
    let mut open = connect(server, "localhost", client_config(&ca.trust, None).unwrap()).await.unwrap();
    assert_eq!(served(server, &ca).await, leaf_der(&first));

    let second = ca.leaf(LeafUsage::Server);
    put(folder.path(), &second);
    until_served(server, &ca, &second).await;
    exchange(&mut open).await.unwrap();

    // A key that does not belong, rubbish, and another CA's chain: the good one stays.
    write_private(&folder.path().join("tls.key"), ca.leaf(LeafUsage::Server).key_pem.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    write_public(&folder.path().join("tls.crt"), b"rubbish").unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    put(folder.path(), &self::ca().leaf(LeafUsage::Server));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(served(server, &ca).await, leaf_der(&second));
    exchange(&mut open).await.unwrap();

    let third = ca.leaf(LeafUsage::Server);
    put(folder.path(), &third);
    until_served(server, &ca, &third).await;
}

/// Counts how often somebody asked for the time: once for each time that the files are read.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        self.0.fetch_add(1, Ordering::SeqCst);
        SystemClock.now()
    }
}

/// To read the files is no event that has them read again.
#[tokio::test]
async fn the_watch_sleeps_while_nothing_changes() {
    let ca = ca();
    let folder = tempfile::tempdir().unwrap();
    let files = put(folder.path(), &ca.leaf(LeafUsage::Server));
    let clock = Arc::new(Counting::default());
    let (_identity, _watch) = ReloadingIdentity::watch(files, ca.trust.clone(), Arc::clone(&clock) as _).unwrap();
    let reads = async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.0.load(Ordering::SeqCst)
    };
    assert_eq!(reads().await, 1);
    write_public(&folder.path().join("tls.crt"), b"rubbish").unwrap();
    let after = reads().await;
    assert!(after > 1, "a change wakes it");
    assert_eq!(reads().await, after, "and then it sleeps again, over files that are no good too");
}

/// Kubelet swaps a symbolic link to a folder; the files themselves never change.
#[tokio::test]
async fn a_swapped_link_is_seen() {
    let ca = ca();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (first, second) = (ca.leaf(LeafUsage::Server), ca.leaf(LeafUsage::Server));
    for (name, leaf) in [("..one", &first), ("..two", &second)] {
        std::fs::create_dir(at(name)).unwrap();
        put(&at(name), leaf);
    }
    std::os::unix::fs::symlink("..one", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/tls.crt", at("tls.crt")).unwrap();
    std::os::unix::fs::symlink("..data/tls.key", at("tls.key")).unwrap();
    let files = IdentityFiles { certificate: at("tls.crt"), key: at("tls.key") };
    let (identity, _watch) = ReloadingIdentity::watch(files, ca.trust.clone(), Arc::new(SystemClock)).unwrap();
    let server = echo(server_config(&identity, &ClientAuth::None).unwrap()).await;
    assert_eq!(served(server, &ca).await, leaf_der(&first));
    std::os::unix::fs::symlink("..two", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    until_served(server, &ca, &second).await;
}

#[test]
fn material_that_does_not_fit_is_refused_by_name() {
    let (ca, other) = (ca(), ca());
    let (a, b) = (ca.leaf(LeafUsage::Server), ca.leaf(LeafUsage::Server));
    let now = SystemClock.now();
    let load =
        |chain: &str, key: &str, trust, now| Identity::from_pem(chain.as_bytes(), key.as_bytes(), trust, now).err();
    assert!(matches!(load(&a.chain_pem, &b.key_pem, &ca.trust, now), Some(TlsError::Mismatch { .. })));
    assert!(matches!(load(&a.chain_pem, &a.key_pem, &other.trust, now), Some(TlsError::Content { .. })));
    let late = now.plus(Duration::from_hours(24 * 100));
    assert!(load(&a.chain_pem, &a.key_pem, &ca.trust, late).unwrap().to_string().contains("CertExpired"));
    let bundle = |pem: &str, now| TrustBundle::from_pem(pem.as_bytes(), now).err().map(|error| error.to_string());
    assert!(bundle("", now).is_some(), "an empty bundle trusts nobody and says so");
    let refused = bundle(&a.chain_pem, now).unwrap();
    assert!(refused.contains("`service.keyrealm.test` is not a CA certificate"), "{refused}");
    let root = ca.chain.trust_bundle_pem();
    assert_eq!(bundle(&root, late), None);
    let refused = bundle(&root, now.plus(Duration::from_hours(24 * 3651))).unwrap();
    assert!(refused.contains("the CA `root.ca.r.keyrealm.test` expired on"), "{refused}");
    // A self-signed leaf never verifies: it is not the trusted root.
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    assert!(load(&own.cert.pem(), &own.signing_key.serialize_pem(), &ca.trust, now).is_some());
    // Nor is it taken as a root, under which it would verify itself.
    assert!(bundle(&own.cert.pem(), now).unwrap().contains("not a CA certificate"));
    assert!(bundle(&format!("{root}{}", own.cert.pem()), now).is_some(), "each entry is looked at");
}

/// A server of another realm: its CA comes in DER, and the client's certificate from a CA that only the server knows.
#[tokio::test]
async fn a_foreign_server_gets_a_certificate_that_is_not_verified_here() {
    let (server, clients) = (ca(), ca());
    let leaf = clients.leaf(LeafUsage::ServerAndClient);
    let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    assert!(Identity::from_pem(chain, key, &server.trust, SystemClock.now()).is_err(), "the rule for our own");
    let identity = ReloadingIdentity::new(Identity::for_foreign_server(chain, key).unwrap());
    let bundle: Vec<Vec<u8>> = certificates(server.chain.trust_bundle_pem().as_bytes())
        .unwrap()
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect();
    let config = client_config(&TrustBundle::from_der(&bundle, SystemClock.now()).unwrap(), Some(&identity)).unwrap();
    let required = ClientAuth::Required(&clients.trust);
    let address = echo(server_config(&server.identity(LeafUsage::ServerAndClient), &required).unwrap()).await;
    let mut stream = connect(address, "localhost", config).await.unwrap();
    exchange(&mut stream).await.unwrap();
    assert!(
        TrustBundle::from_der(&[b"rubbish".to_vec()], SystemClock.now()).is_err()
            && TrustBundle::from_der(&[], SystemClock.now()).is_err()
    );
    let other = clients.leaf(LeafUsage::ServerAndClient);
    assert!(matches!(Identity::for_foreign_server(chain, other.key_pem.as_bytes()), Err(TlsError::Mismatch { .. })));
}
