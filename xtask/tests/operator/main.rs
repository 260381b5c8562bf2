//! The operator as people have it: installed by the README's own commands on the bed, realms in pods, and the guide's commands
//! for backup, restore, upgrade and uninstall. `cargo xtask test` starts the bed and loads the images; by hand: `cargo xtask
//! cluster up`, `cargo xtask images --load`, `cargo test -p xtask --features clusters --test operator -- --test-threads=1`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]
#![allow(clippy::print_stdout, reason = "figures of a run")]

mod acme;
mod blocks;
#[allow(dead_code, reason = "shared with the tests of pods")]
#[path = "../pods/cluster.rs"]
mod cluster;
mod shell;

use std::time::{Duration, Instant};

use acme::Acme;
use blocks::blocks;
use shell::Shell;

/// From `kubectl apply` to Ready, with images loaded.
const READY: Duration = Duration::from_secs(30);

/// One test, since one thing follows from the other on one cluster: installed once, taken away at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_readme_to_an_uninstall_every_command_does_what_it_says() {
    let shell = Shell::new();
    shell.clean();
    the_readme(&shell);
    let acme = Acme::apply(&shell).await;
    acme.tenants_are_apart().await;
    backup_and_restore(&shell, &acme).await;
    upgrade_and_uninstall(&shell, &acme).await;
}

/// One DemoEnvironment, Ready, and the demo passes.
fn the_readme(shell: &Shell) {
    let readme = blocks("README.md");
    // Compiled before, since nothing else has the machine's cores then.
    shell.run("cargo build --release -p demo --features kubernetes");
    let lines: Vec<&str> = readme[0].lines().collect();
    shell.run(lines[0]);
    let began = Instant::now();
    for line in &lines[1..] {
        shell.run(line);
    }
    let took = began.elapsed();
    println!("a DemoEnvironment was ready {:.1} s after kubectl apply", took.as_secs_f64());
    assert!(took < READY, "{took:?}");
    let said = shell.run(&readme[1]);
    assert!(said.contains("[SUCCESS] 25 of 25"), "{said}");
    shell.run("kubectl delete namespace keyrealm-demo --timeout=60s");
}

/// What the guide says about Secrets and resources that are lost.
async fn backup_and_restore(shell: &Shell, acme: &Acme<'_>) {
    let [backup, secret, realm, tenant, ..] = &blocks("docs/operations.md")[..] else { panic!("blocks are missing") };
    let ciphertext = acme.encrypt("kept").await;
    shell.run(backup);

    shell.run("kubectl --namespace acme delete secret main-kms-unseal");
    acme.waits_for("realm/main", "UnsealKeyMissing");
    shell.run(secret);
    assert_eq!(acme.decrypt(&ciphertext).await, "kept");

    // Resources go, data stays; made again they take it back when they are told to.
    shell.run("kubectl --namespace acme delete tenant one --timeout=60s");
    shell.run("kubectl --namespace acme delete realm main --timeout=120s");
    acme.resources();
    acme.waits_for("realm/main", "DatabaseInUse");
    shell.run(realm);
    acme.waits_for("tenant/one", "TenantRetained");
    shell.run(tenant);
    acme.follow_services();
    assert_eq!(acme.decrypt(&ciphertext).await, "kept", "the keys are those of before");
}

/// Tenants' data survive both, and servers serve on without an operator.
async fn upgrade_and_uninstall(shell: &Shell, acme: &Acme<'_>) {
    let guide = blocks("docs/operations.md");
    let [.., upgrade, uninstall] = &guide[..] else { panic!("blocks are missing") };
    let ciphertext = acme.encrypt("kept").await;
    let pods = acme.pods();
    shell.run(upgrade);
    assert_eq!(acme.pods(), pods, "an upgrade to the same images starts no pod anew");
    shell.run(uninstall);
    assert_eq!(acme.pods(), pods);
    assert_eq!(acme.decrypt(&ciphertext).await, "kept", "served without an operator");
    shell.run("kubectl --namespace acme get realm main");

    shell.run(blocks("README.md")[0].lines().next().unwrap());
    shell.run("kubectl --namespace acme wait --for=condition=Ready realm/main tenant/one tenant/two --timeout=60s");
    assert_eq!(acme.decrypt(&ciphertext).await, "kept");
    assert_eq!(acme.pods(), pods, "a new operator starts no pod anew");
    shell.clean();
}
