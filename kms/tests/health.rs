//! What a server says of its own state, and that it does not go on when a part of it has ended.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyrealm_store::{Space, StatementHook};
use keyrealm_testkit::{On, on_each_database};
use serde_json::Value;
use support::Kms;

/// Waits for a state of a check; the answer is its reason.
async fn until(kms: &Kms, check: &str, state: &str, status: u16) -> Value {
    let began = Instant::now();
    loop {
        let answer = kms.ready().await;
        let found = answer.json()["checks"][check].clone();
        if found["state"] == state && answer.status == status {
            return found["reason"].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{check} is not {state}: {}", answer.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// With the keys at hand it serves on and is degraded; with none that may be used nobody can be let in, and it is not
/// ready.
async fn issuers_are_degraded_and_then_failed(on: On) {
    let kms = Kms::start(on).await;
    assert!(until(&kms, "issuers", "ok", 200).await.is_null());
    kms.issuer.set_down(true);
    kms.clock.advance(Duration::from_secs(400));
    let degraded = until(&kms, "issuers", "degraded", 200).await;
    assert!(degraded.as_str().unwrap().contains("the issuer answered 500"), "{degraded}");
    kms.clock.advance(Duration::from_secs(3_600));
    let failed = until(&kms, "issuers", "failed", 503).await;
    assert!(failed.as_str().unwrap().contains("the issuer answered 500"), "{failed}");
    kms.issuer.set_down(false);
    kms.clock.advance(Duration::from_secs(11));
    until(&kms, "issuers", "ok", 200).await;
}

/// An issuer that takes the connection and says nothing, such as one that is just starting: as long as there are no keys
/// callers are not sent here, and they are once it speaks.
async fn not_ready_before_the_first_keys(on: On) {
    let mut kms = Kms::start(on).await;
    kms.suspend(async |kms| kms.issuer.set_hanging(true)).await;
    let answer = kms.ready().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["checks"]["issuers"]["state"]), (503, &Value::from("failed")));
    assert!(answer.text().contains("for the first time"), "{}", answer.text());
    kms.issuer.set_hanging(false);
    kms.clock.advance(Duration::from_secs(2));
    until(&kms, "issuers", "ok", 200).await;
}

/// A task that should run for ever and panics: the process is told, by name.
async fn a_task_that_panics_is_noticed(on: On) {
    let armed = Arc::new(AtomicBool::new(false));
    let hook: StatementHook = {
        let armed = Arc::clone(&armed);
        Arc::new(move |space, text| {
            let heartbeat = space == Space::Control && text.contains("INTO {s}instances");
            assert!(!(heartbeat && armed.load(Ordering::SeqCst)), "on purpose");
        })
    };
    let mut kms = Kms::start_with(on, Some(hook)).await;
    let mut running = kms.running.take().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), running.failed()).await.is_err(), "all is well");
    armed.store(true, Ordering::SeqCst);
    let failed = tokio::time::timeout(Duration::from_secs(20), running.failed()).await.unwrap();
    assert!(failed.contains("`heartbeat` panicked") && failed.contains("on purpose"), "{failed}");
    kms.running = Some(running);
    let reason = until(&kms, "tasks", "failed", 503).await;
    assert!(reason.as_str().unwrap().contains("heartbeat"), "{reason}");
}

on_each_database!(issuers_are_degraded_and_then_failed, not_ready_before_the_first_keys, a_task_that_panics_is_noticed);
