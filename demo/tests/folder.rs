//! What a run leaves behind in its folder, and what it finds there.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::seed::DemoCredentials;
use keyrealm_base::{SharedClock, SharedRandom, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_registry::Registrar;
use keyrealm_store::Database;
use keyrealm_tls::write_private;
use sqlx::{Connection, SqliteConnection};

use self::support::{demo, document, events, kept_in, kill, run, text, wait};

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder of the user's is not touched, whatever the flags say; a folder of the demo loses the demo's files alone.
#[test]
fn cleanup_takes_only_what_the_demo_made() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let flags = [&kept_in(folder.path())[..], &["--on-partial", "cleanup", "--json"]].concat();
    let output = run(&[&["kms"], &flags[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(document(&output)["errors"][0]["message"].as_str().unwrap().contains("not empty"));
    assert_eq!(names(folder.path()), ["thesis.txt"]);

    let folder = tempfile::tempdir().unwrap();
    assert!(run(&[&["kms"], &kept_in(folder.path())[..]].concat()).status.success());
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let before = names(folder.path());
    // It was there before this start, which fails: everything stays.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let path = folder.path().to_str().unwrap();
    let flags = ["kms", "--data-dir", path, "--on-partial", "cleanup"];
    assert_eq!(run(&[&flags[..], &["--kms-port", &port, "--identity-port", "0"]].concat()).status.code(), Some(2));
    assert_eq!(names(folder.path()), before);
    // A run in which a step fails.
    let credentials = folder.path().join("credentials.json");
    let mut changed: DemoCredentials = serde_json::from_slice(&std::fs::read(&credentials).unwrap()).unwrap();
    changed.clients.iter_mut().for_each(|client| client.secret.push('x'));
    std::fs::write(&credentials, serde_json::to_string(&changed).unwrap()).unwrap();
    let flags = [&flags[..], &["--kms-port", "0", "--identity-port", "0", "--retry", "0"]].concat();
    assert_eq!(run(&flags).status.code(), Some(1));
    assert_eq!(names(folder.path()), ["notes.txt"]);
}

/// What is declared: generation and hash by tenant, product, kind and name.
async fn declared(folder: &Path) -> BTreeMap<(String, String), (i64, String)> {
    let mut connection = control(folder).await;
    let sql = "SELECT lower(hex(tenant)) || product, kind || name, generation, spec_hash FROM desired";
    let rows: Vec<(String, String, i64, String)> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
    rows.into_iter().map(|(tenant, name, generation, hash)| ((tenant, name), (generation, hash))).collect()
}

async fn control(folder: &Path) -> SqliteConnection {
    let file = folder.join("data/keyrealm.sqlite");
    SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap()
}

/// A start that was ended between the two tenants, before the KMS was told anything.
#[tokio::test]
async fn a_folder_made_half_is_made_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (clock, random): (SharedClock, SharedRandom) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let credentials = DemoCredentials::generate(&SystemRandom);
    let text_of = serde_json::to_string(&credentials).unwrap();
    std::fs::write(path.join(".keyrealm-demo"), "").unwrap();
    write_private(&path.join("credentials.json"), text_of.as_bytes()).unwrap();
    let database = Database::open_sqlite(&path.join("data"), None).unwrap();
    let registrar = Registrar::new(Arc::clone(&database), clock, random);
    registrar.ensure_deployment("").await.unwrap();
    let tenants = identity::seed::declare_demo(&registrar, &credentials, &SystemRandom).await.unwrap();
    assert_eq!(tenants.len(), 2);
    database.close().await;
    drop((registrar, database));
    let forget = "DELETE FROM desired WHERE tenant = (SELECT id FROM tenants WHERE slug = 'demo-2')";
    sqlx::query(forget).execute(&mut control(path).await).await.unwrap();
    let half = declared(path).await;
    assert!(half.len() == 6 && half.values().all(|(generation, _)| *generation == 1), "{half:?}");

    let output = run(&[&["all", "--json"], &kept_in(path)[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert_eq!(std::fs::read_to_string(path.join("credentials.json")).unwrap(), text_of, "the file decides");
    let whole = declared(path).await;
    assert_eq!(whole.len(), 8 + 8);
    assert!(half.iter().all(|(name, entry)| whole[name] == *entry), "what was there stays as it was");
    // Another start changes nothing.
    assert!(run(&[&["kms"], &kept_in(path)[..]].concat()).status.success());
    assert_eq!(declared(path).await, whole);
    // What an older demo did not have is added.
    let forget = "DELETE FROM desired WHERE name = 'demo-user-2'";
    sqlx::query(forget).execute(&mut control(path).await).await.unwrap();
    assert!(run(&[&["identity"], &kept_in(path)[..]].concat()).status.success());
    assert!(declared(path).await.keys().eq(whole.keys()));

    // Passwords that nobody knows are not replaced silently, and others than the file's are not pretended.
    let output = run(&[&["kms", "--demo-password"], &kept_in(path)[..]].concat());
    assert!(text(&output.stderr).contains("give --reset-demo, too"), "{}", text(&output.stderr));
    std::fs::remove_file(path.join("credentials.json")).unwrap();
    let output = run(&[&["kms"], &kept_in(path)[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("give --reset-demo"), "{}", text(&output.stderr));
    assert!(run(&[&["kms", "--reset-demo"], &kept_in(path)[..]].concat()).status.success());
}

/// Keys and passwords of a temporary folder go, whenever the run is ended.
#[test]
fn signals_leave_no_temporary_files() {
    for (signal, name) in [("-TERM", "SIGTERM"), ("-INT", "Ctrl-C")] {
        let place = tempfile::tempdir().unwrap();
        let mut command = demo(&["all", "--output", "structured"]);
        command.env("TMPDIR", place.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        // In the middle of the steps.
        let mut child = command.spawn().unwrap();
        let mut lines = events(child.stdout.take().unwrap());
        assert!(lines.any(|line| line["attributes"]["step"] == "identity.jwks"));
        assert_eq!(names(place.path()).len(), 1, "the folder is there");
        kill(&child, signal);
        let rest: Vec<_> = lines.collect();
        assert_eq!(wait(&mut child), Some(1));
        assert_eq!(names(place.path()), [""; 0], "after {signal}");
        let skipped = rest.iter().filter(|line| line["attributes"]["status"] == "skipped").collect::<Vec<_>>();
        assert!(skipped.iter().all(|line| line["attributes"]["reason"] == name), "{skipped:?}");
        let outcome = &rest.last().unwrap()["attributes"]["outcome"];
        assert!(skipped.len() > 10 && outcome["skipped_steps"] == skipped.len(), "{outcome}");

        // While the servers are still being started, as soon as there is a folder.
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        while names(place.path()).is_empty() && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(&child, signal);
        let lines: Vec<_> = events(child.stdout.take().unwrap()).collect();
        assert_eq!(wait(&mut child), Some(2));
        assert_eq!(names(place.path()), [""; 0], "after {signal} at the start");
        let outcome = &lines.last().unwrap()["attributes"]["outcome"];
        assert!(outcome["errors"][0]["message"].as_str().unwrap().contains(name), "{outcome}");
    }
}
