//! The verifier against an issuer that is slow to change, away, or asked by many at once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyrealm_auth::{
    AuthError, BearerVerifier, IssuersState, JwksCache, JwksState, JwksTimes, RevocationList, TrustedIssuer,
};
use keyrealm_base::{Clock, SharedClock, TenantId};
use keyrealm_crypto::SystemRandom;
use keyrealm_testkit::{TestClock, TestIssuer, TestTls};
use serde_json::json;

const AUDIENCE: &str = "https://kms.test";

struct World {
    clock: TestClock,
    issuer: TestIssuer,
    verifier: Arc<BearerVerifier>,
    revocations: Arc<RevocationList>,
    tenant: TenantId,
}

impl World {
    async fn start() -> Self {
        let (tls, clock) = (TestTls::new(), TestClock::default());
        let shared: SharedClock = Arc::new(clock.clone());
        let issuer = TestIssuer::start(&tls, Arc::clone(&shared), AUDIENCE).await;
        let keys = JwksCache::new(issuer.jwks_url.clone(), tls.client(), JwksTimes::default(), Arc::clone(&shared));
        let revocations = Arc::new(RevocationList::new(Duration::from_secs(86_400)));
        revocations.replace([], clock.now());
        let trusted = vec![TrustedIssuer { issuer: issuer.issuer.clone(), keys }];
        let verifier = BearerVerifier::new(trusted, AUDIENCE.to_owned(), Arc::clone(&revocations), shared);
        let tenant = TenantId::new(&SystemRandom);
        Self { clock, issuer, verifier: Arc::new(verifier), revocations, tenant }
    }

    /// A token that was never seen before.
    fn token(&self, id: usize) -> String {
        let mut claims = self.issuer.claims(Some(self.tenant), "kms:sign");
        claims["jti"] = format!("token-{id}").into();
        self.issuer.sign(&json!({}), &claims)
    }

    fn reads(&self) -> usize {
        self.issuer.reads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_hundred_first_callers_cause_one_read() {
    let world = World::start().await;
    let calls = (0..100).map(|id| {
        let (verifier, token) = (Arc::clone(&world.verifier), world.token(id));
        tokio::spawn(async move { verifier.verify(&token).await.map(|principal| principal.token_id.clone()) })
    });
    for (id, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), format!("token-{id}"));
    }
    assert_eq!(world.reads(), 1);
}

#[tokio::test]
async fn keys_are_used_stale_for_an_hour_and_then_the_issuer_is_missed() {
    let world = World::start().await;
    world.verifier.verify(&world.token(0)).await.unwrap();
    world.issuer.set_down(true);
    world.clock.advance(Duration::from_secs(3_500));
    world.revocations.replace([], world.clock.now());
    world.verifier.verify(&world.token(1)).await.unwrap();
    world.clock.advance(Duration::from_secs(200));
    world.revocations.replace([], world.clock.now());
    let error = world.verifier.verify(&world.token(2)).await.unwrap_err();
    assert!(matches!(error, AuthError::Issuer(_)), "{error}");
    world.issuer.set_down(false);
    world.clock.advance(Duration::from_secs(11));
    world.verifier.verify(&world.token(3)).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_is_away_is_asked_once_in_ten_seconds() {
    let world = World::start().await;
    world.issuer.set_down(true);
    for id in 0..20 {
        let error = world.verifier.verify(&world.token(id)).await.unwrap_err();
        assert!(matches!(error, AuthError::Issuer(_)), "{error}");
    }
    assert_eq!(world.reads(), 1);
    world.clock.advance(Duration::from_secs(11));
    assert!(world.verifier.verify(&world.token(20)).await.is_err());
    assert_eq!(world.reads(), 2);
}

#[tokio::test]
async fn made_up_key_ids_do_not_drive_reads() {
    let world = World::start().await;
    world.verifier.verify(&world.token(0)).await.unwrap();
    let claims = world.issuer.claims(Some(world.tenant), "kms:sign");
    for id in 0..50 {
        let token = world.issuer.sign(&json!({"kid": format!("made-up-{id}")}), &claims);
        let error = world.verifier.verify(&token).await.unwrap_err();
        assert!(matches!(error, AuthError::Invalid(_)), "{error}");
    }
    assert_eq!(world.reads(), 1);
}

#[tokio::test]
async fn a_remembered_token_expires_all_the_same() {
    let world = World::start().await;
    let token = world.token(0);
    world.verifier.verify(&token).await.unwrap();
    world.clock.advance(Duration::from_secs(601));
    world.revocations.replace([], world.clock.now());
    let error = world.verifier.verify(&token).await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn the_keys_are_read_before_anybody_asks() {
    let world = World::start().await;
    let (shown, mut rounds) = tokio::sync::mpsc::unbounded_channel();
    let following = tokio::spawn(Arc::clone(&world.verifier).follow_keys(move |read| {
        let _ = shown.send(read);
    }));
    assert_eq!(rounds.recv().await, Some(IssuersState::Good));
    world.verifier.verify(&world.token(0)).await.unwrap();
    assert_eq!(world.reads(), 1);
    following.abort();
}

/// With keys at hand it serves on; with none nobody can be let in, and that is another state. The reason stays the same
/// between two reads.
#[tokio::test]
async fn the_state_tells_stale_keys_from_none() {
    let (tls, clock) = (TestTls::new(), TestClock::default());
    let shared: SharedClock = Arc::new(clock.clone());
    let issuer = TestIssuer::start(&tls, Arc::clone(&shared), AUDIENCE).await;
    let keys = JwksCache::new(issuer.jwks_url.clone(), tls.client(), JwksTimes::default(), shared);
    issuer.set_down(true);
    let JwksState::Unusable(reason) = keys.refresh().await else { panic!("never read") };
    assert!(reason.to_string().contains("500"), "{reason}");
    assert_eq!(keys.refresh().await, JwksState::Unusable(reason.clone()), "asked a moment ago: the same reason");
    assert_eq!(keys.keys_for("kid").await.err(), Some(reason.clone()));
    assert_eq!(issuer.reads.load(Ordering::SeqCst), 1);
    issuer.set_down(false);
    clock.advance(Duration::from_secs(1));
    assert_eq!(keys.refresh().await, JwksState::Fresh, "with none at hand it asks again soon");
    assert!(!keys.keys_for("made up").await.unwrap().contains("made up"));
    clock.advance(Duration::from_secs(9));
    assert!(!keys.keys_for("made up").await.unwrap().contains("made up"));
    assert_eq!(issuer.reads.load(Ordering::SeqCst), 2, "with some it does not, whatever is asked for");
    issuer.set_down(true);
    clock.advance(Duration::from_secs(400));
    assert_eq!(keys.refresh().await, JwksState::Stale(reason.clone()));
    assert_eq!(keys.refresh().await, JwksState::Stale(reason.clone()));
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(keys.refresh().await, JwksState::Unusable(reason));
}

/// An issuer that takes the question and never answers: who has keys that are stale does not wait for it.
#[tokio::test]
async fn nobody_waits_for_an_issuer_that_hangs() {
    let world = World::start().await;
    world.verifier.verify(&world.token(0)).await.unwrap();
    world.issuer.set_hanging(true);
    world.clock.advance(Duration::from_secs(400));
    world.revocations.replace([], world.clock.now());
    let began = std::time::Instant::now();
    for id in 1..20 {
        world.verifier.verify(&world.token(id)).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The question is under way, once.
    while world.reads() < 2 {
        assert!(began.elapsed() < Duration::from_secs(9));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.reads(), 2);
}
