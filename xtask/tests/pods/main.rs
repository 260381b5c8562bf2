//! KMS and Identity as they are run for real: images of this workspace in pods of the bed, under restricted Pod Security, on
//! PostgreSQL beside them. `cargo xtask test` starts the bed and loads the images; by hand: `cargo xtask cluster up`,
//! `cargo xtask images --load`, `cargo test -p xtask --features clusters --test pods -- --test-threads=1`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod cluster;
mod connection;
mod load;
mod manifests;
mod realm;
mod storage;

use std::process::Command;
use std::time::{Duration, Instant};

use cluster::Cluster;
use connection::Connection;
use load::Load;
use realm::{PRODUCTS, Realm};

#[test]
fn nothing_of_the_bed_leaves_the_machine() {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let routes = output("ip", &["route", "show", "root", "198.18.0.0/15"]);
    assert!(routes.lines().any(|route| route.trim() == "blackhole 198.18.0.0/15"), "{routes}");
    assert!(routes.lines().all(|route| route.starts_with("blackhole") || route.contains("dev kr0")), "{routes}");
    // Before kube-proxy and Docker are asked: what crosses the border of the range is dropped, forwarded or our own.
    for parent in ["FORWARD", "POSTROUTING"] {
        let rules = output("iptables", &["--table", "mangle", "--list-rules", parent]);
        assert_eq!(rules.lines().nth(1), Some(format!("-A {parent} -j KEYREALM-BED").as_str()), "{rules}");
    }
    let own = output("iptables", &["--table", "mangle", "--list-rules", "KEYREALM-BED"]);
    for border in ["-s 198.18.0.0/15 ! -d 198.18.0.0/15", "! -s 198.18.0.0/15 -d 198.18.0.0/15"] {
        assert!(own.lines().any(|rule| rule.contains(border) && rule.ends_with("-j DROP")), "{own}");
    }
    // No source address is exchanged for one that could leave: only kube-proxy's own mark does that, within the node.
    let nat = output("iptables", &["--table", "nat", "--list-rules"]);
    let masquerades = |rule: &&str| rule.contains("MASQUERADE");
    assert!(nat.lines().filter(masquerades).all(|rule| rule.starts_with("-A KUBE-POSTROUTING")), "{nat}");
}

#[test]
fn the_demo_runs_against_pods_through_port_forwards() {
    let realm = Realm::get();
    let cargo = env!("CARGO");
    let mut demo = Command::new(cargo);
    demo.args([
        "run",
        "--quiet",
        "--package",
        "demo",
        "--features",
        "kubernetes",
        "--",
        "all",
        "--target",
        "kubernetes",
    ]);
    demo.args([
        "--namespace",
        &realm.namespace,
        "--kms-url",
        &realm.url("kms"),
        "--identity-url",
        &realm.url("identity"),
    ]);
    demo.arg("--ca").arg(realm.file("ca.pem")).arg("--credentials").arg(realm.file("credentials.json"));
    demo.arg("--kubeconfig").arg(realm.cluster.kubeconfig()).arg("--no-color");
    let output = demo.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("[SUCCESS] 25 of 25"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request() {
    let realm = Realm::get();
    let before = realm.pods();
    let load = Load::start(realm).await;
    for product in PRODUCTS {
        realm.kubectl(&["rollout", "restart", &format!("deployment/{product}")]);
        realm.rolled_out(product);
    }
    // The last pods of before are still going.
    let began = Instant::now();
    while realm.pods().iter().any(|pod| before.contains(pod)) {
        assert!(began.elapsed() < Duration::from_secs(60), "old pods do not go");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let done = load.stop().await;
    // None of the new ones ended on its way, to be started once more.
    let new: Vec<_> = realm.pods().into_iter().map(|pod| (pod, 0)).collect();
    realm.assert_not_restarted(&new);
    println!("{} tokens and {} encryptions during two rolling restarts", done.tokens, done.encryptions);
    assert!(done.failures.is_empty(), "{:#?}", done.failures);
    assert!(done.tokens > 50 && done.encryptions > 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_certificates_are_served_without_a_restart_or_a_dropped_connection() {
    let realm = Realm::get();
    let before = realm.restarts();
    let mut kept = Vec::new();
    for (product, address) in realm.pod_addresses() {
        kept.push((product, Connection::open(realm, product, address).await));
    }
    let old: Vec<Vec<u8>> = kept.iter().map(|(_, connection)| connection.leaf.clone()).collect();
    realm.replace_certificates();
    let began = Instant::now();
    for ((product, address), old) in realm.pod_addresses().into_iter().zip(&old) {
        while Connection::open(realm, product, address).await.leaf == *old {
            assert!(began.elapsed() < Duration::from_secs(120), "{product} serves the old certificate still");
            // What was open before is used all along.
            for (_, connection) in &mut kept {
                assert_eq!(connection.get("/openapi.json").await, 200);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    println!("every pod serves the new certificate after {:.1} s", began.elapsed().as_secs_f64());
    for (_, connection) in &mut kept {
        assert_eq!(connection.get("/openapi.json").await, 200);
    }
    realm.assert_not_restarted(&before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_pod_in_order_within_its_grace_period() {
    let realm = Realm::get();
    for product in PRODUCTS {
        let instances = realm.instances(product).await;
        let pod = realm.pods().into_iter().find(|pod| pod.starts_with(product)).unwrap();
        let began = Instant::now();
        realm.kubectl(&["delete", "pod", &pod, "--wait=true"]);
        let took = began.elapsed();
        println!("{pod} was gone after {:.1} s", took.as_secs_f64());
        // 30 s is the grace period: whoever needs it all was killed.
        assert!(took < Duration::from_secs(25), "{took:?}");
        realm.rolled_out(product);
        // Its row went with it; the replacement wrote its own.
        let left = realm.instances(product).await;
        assert_eq!(left.len(), instances.len(), "{instances:?} {left:?}");
        assert_eq!(left.iter().filter(|row| !instances.contains(row)).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_container_comes_back_with_all_keys() {
    let realm = Realm::get();
    let keys = realm.keys().await;
    assert!(keys.len() >= 4, "{keys:?}");
    let ciphertext = realm.encrypt(&keys[0].0, "kept").await;
    let killed = realm.kill_containers("kms");
    let began = Instant::now();
    while !realm.restarted(&killed) {
        assert!(began.elapsed() < Duration::from_secs(90), "the containers do not come back");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    realm.rolled_out("kms");
    realm.is_reached().await;
    assert_eq!(realm.keys().await, keys);
    assert_eq!(realm.decrypt(&keys[0].0, &ciphertext).await, "kept");
}

#[test]
fn a_volume_is_written_by_its_pod_then_emptied_and_offered_again() {
    storage::volume_comes_back(&Cluster::new());
}
