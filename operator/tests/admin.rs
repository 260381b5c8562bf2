//! Probes and metrics, as kubelet's commands and a browser meet them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::{Clock, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_http::{Check, Health};
use keyrealm_pki::{CaChain, ChainSpec, LeafSpec, LeafUsage, NameStyle};
use keyrealm_tls::{Identity, IdentityFiles, ReloadingIdentity, TrustBundle, client_config};
use operator::config::{AdminSettings, AdminTls};
use operator::health::{AdminChain, live, ready};
use operator::metrics::Metrics;

fn settings(client_ca: Option<std::path::PathBuf>) -> AdminSettings {
    AdminSettings { address: "127.0.0.1:0".to_owned(), client_ca, tls: AdminTls::default() }
}

/// A CA's bundle, and the certificate of a client of it.
fn authority(name: &str) -> (String, Arc<ReloadingIdentity>) {
    let style = NameStyle::Descriptive { name: name.to_owned() };
    let chain = CaChain::generate(&ChainSpec::new(style), &SystemClock, &SystemRandom).unwrap();
    let leaf = chain.issue_leaf(&LeafSpec::new("scraper", LeafUsage::Client), &SystemClock, &SystemRandom).unwrap();
    let trust = TrustBundle::from_pem(chain.trust_bundle_pem().as_bytes(), SystemClock.now()).unwrap();
    let (certificate, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    let identity = Identity::from_pem(certificate, key, &trust, SystemClock.now()).unwrap();
    (chain.trust_bundle_pem(), ReloadingIdentity::new(identity))
}

/// The given CA's clients read metrics, those of others do not get in, and the probes go on.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_read_by_clients_of_the_given_ca() {
    let folder = tempfile::tempdir().unwrap();
    let given = folder.path().join("given.crt");
    let ((bundle, scraper), (_, other)) = (authority("Monitoring"), authority("Others"));
    let chain = AdminChain::make(folder.path(), Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap();
    for content in [None, Some("no certificate"), Some("")] {
        if let Some(content) = content {
            std::fs::write(&given, content).unwrap();
        }
        let refused = chain.serve(&settings(Some(given.clone())), Health::default(), Metrics::default()).await;
        let refused = format!("{:#}", refused.err().unwrap());
        assert!(refused.contains("server.admin.client_ca") && refused.contains("given.crt"), "{refused}");
    }
    std::fs::write(&given, bundle).unwrap();
    let admin = chain.serve(&settings(Some(given)), Health::default(), Metrics::default()).await.unwrap();
    live(folder.path(), &admin.address.to_string()).await.unwrap();
    let trust = TrustBundle::from_file(&folder.path().join("ca.crt"), SystemClock.now()).unwrap();
    let url = format!("https://localhost:{}/metrics", admin.address.port()).parse().unwrap();
    let addresses = HashMap::from([(format!("localhost:{}", admin.address.port()), admin.address)]);
    let client = |identity: Option<&Arc<ReloadingIdentity>>| {
        let options = ClientOptions { addresses: addresses.clone(), ..ClientOptions::default() };
        HttpsClient::new(&client_config(&trust, identity).unwrap(), options)
    };
    assert_eq!(client(Some(&scraper)).get(&url).await.unwrap().status, 200);
    assert_eq!(client(None).get(&url).await.unwrap().status, 401);
    assert!(client(Some(&other)).get(&url).await.is_err(), "a stranger's certificate is no certificate");
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_and_ready_tell_the_truth_with_reasons_and_metrics_ask_for_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let none = live(folder.path(), "127.0.0.1:1").await.unwrap_err();
    assert!(format!("{none:#}").contains("is the operator running here"), "{none:#}");
    let (health, metrics) = (Health::default(), Metrics::default());
    metrics.leader(true);
    let chain = AdminChain::make(folder.path(), Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap();
    let admin = chain.serve(&settings(None), health.clone(), metrics).await.unwrap();
    let address = admin.address.to_string();
    health.set("stores", Check::Failed("no list yet of: Secret".to_owned()));
    live(folder.path(), &address).await.unwrap();
    let refused = format!("{:#}", ready(folder.path(), &address).await.unwrap_err());
    assert!(refused.contains("503") && refused.contains("no list yet of: Secret"), "{refused}");
    health.set("stores", Check::Ok);
    ready(folder.path(), &address).await.unwrap();

    for key in ["admin.key", "probe.key"] {
        assert_eq!(std::fs::metadata(folder.path().join(key)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let trust = TrustBundle::from_file(&folder.path().join("ca.crt"), SystemClock.now()).unwrap();
    let probe = IdentityFiles { certificate: folder.path().join("probe.crt"), key: folder.path().join("probe.key") };
    let probe = ReloadingIdentity::new(Identity::from_files(&probe, &trust, SystemClock.now()).unwrap());
    let url = format!("https://localhost:{}/metrics", admin.address.port()).parse().unwrap();
    let addresses = HashMap::from([(format!("localhost:{}", admin.address.port()), admin.address)]);
    let options = ClientOptions { addresses, ..ClientOptions::default() };
    let stranger = HttpsClient::new(&client_config(&trust, None).unwrap(), options.clone());
    assert_eq!(stranger.get(&url).await.unwrap().status, 401);
    let known = HttpsClient::new(&client_config(&trust, Some(&probe)).unwrap(), options);
    let answer = known.get(&url).await.unwrap();
    assert!(String::from_utf8_lossy(&answer.body).contains("keyrealm_operator_leader 1"));
    admin.stop().await;
    assert!(live(folder.path(), &address).await.is_err());
}

/// A CA of the cluster's people issues for the Service's name: a client with that bundle alone, which checks everything, reads
/// the metrics by that name; a renewed certificate is shown without a restart, and the probes never depend on it.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_by_the_services_name_is_shown_the_given_certificate() {
    const SERVICE: &str = "keyrealm-metrics.keyrealm-system.svc";
    const RENEWED: &str = "keyrealm-metrics.elsewhere.svc";
    let (run, given) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let style = NameStyle::Descriptive { name: "Cluster".to_owned() };
    let authority_of_cluster = CaChain::generate(&ChainSpec::new(style), &SystemClock, &SystemRandom).unwrap();
    let path = |name: &str| given.path().join(name);
    let files = AdminTls { certificate: path("tls.crt"), key: path("tls.key"), ca: path("ca.crt") };
    let issue = |name: &str| {
        let spec = LeafSpec::new(name, LeafUsage::Server);
        let leaf = authority_of_cluster.issue_leaf(&spec, &SystemClock, &SystemRandom).unwrap();
        keyrealm_tls::write_private(&files.key, leaf.key_pem.as_bytes()).unwrap();
        keyrealm_tls::write_public(&files.certificate, leaf.chain_pem.as_bytes()).unwrap();
    };
    let (monitoring, scraper) = authority("Monitoring");
    std::fs::write(path("clients.crt"), &monitoring).unwrap();
    let settings = AdminSettings { tls: files.clone(), ..settings(Some(path("clients.crt"))) };
    let chain = AdminChain::make(run.path(), Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap();
    let refused = async |part: &str| {
        let refused = chain.serve(&settings, Health::default(), Metrics::default()).await;
        let refused = format!("{:#}", refused.err().unwrap());
        assert!(refused.contains(part), "{refused}");
    };
    refused("server.admin.tls.ca").await;
    std::fs::write(&files.ca, authority_of_cluster.trust_bundle_pem()).unwrap();
    refused("tls.crt").await;
    issue(SERVICE);
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused("tls.key").await;
    std::fs::write(&files.ca, &monitoring).unwrap();
    issue(SERVICE);
    refused("must be of a CA of").await;
    std::fs::write(&files.ca, authority_of_cluster.trust_bundle_pem()).unwrap();
    let health = Health::default();
    health.set("stores", Check::Ok);
    let admin = chain.serve(&settings, health, Metrics::default()).await.unwrap();

    let address = admin.address;
    let get = async |bundle: &str, name: &str| {
        let trust = TrustBundle::from_pem(bundle.as_bytes(), SystemClock.now()).unwrap();
        let options = ClientOptions {
            addresses: HashMap::from([(format!("{name}:{}", address.port()), address)]),
            ..ClientOptions::default()
        };
        let client = HttpsClient::new(&client_config(&trust, Some(&scraper)).unwrap(), options);
        let url = format!("https://{name}:{}/metrics", address.port()).parse().unwrap();
        client.get(&url).await.map(|answer| answer.status.as_u16()).map_err(|error| error.to_string())
    };
    let of_cluster = authority_of_cluster.trust_bundle_pem();
    assert_eq!(get(&of_cluster, SERVICE).await, Ok(200));
    for (bundle, name) in
        [(&of_cluster, "other.keyrealm-system.svc"), (&monitoring, SERVICE), (&of_cluster, "localhost")]
    {
        assert!(get(bundle, name).await.is_err(), "{name}");
    }
    live(run.path(), &address.to_string()).await.unwrap();
    ready(run.path(), &address.to_string()).await.unwrap();

    // Another one is taken without a restart.
    issue(RENEWED);
    let began = std::time::Instant::now();
    while get(&of_cluster, RENEWED).await != Ok(200) {
        assert!(began.elapsed() < Duration::from_secs(10), "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(get(&of_cluster, SERVICE).await.is_err(), "the former one is shown no more");
    // What cannot be used is not taken, and the probes do not care.
    std::fs::write(&files.certificate, "no certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(get(&of_cluster, RENEWED).await, Ok(200));
    live(run.path(), &address.to_string()).await.unwrap();
    admin.stop().await;
}
