//! Callers that never stop: tokens from Identity, encryptions in the KMS, over connections that are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::realm::Realm;

/// Callers of each kind.
const CALLERS: usize = 4;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) tokens: usize,
    pub(crate) encryptions: usize,
    pub(crate) failures: Vec<String>,
}

/// Running callers.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Done>,
}

impl Load {
    pub(crate) async fn start(realm: &'static Realm) -> Self {
        let (stop, mut callers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let token = realm.token().await.unwrap();
        let key = realm.keys().await[0].0.clone();
        for _ in 0..CALLERS {
            let until = Arc::clone(&stop);
            callers.spawn(async move {
                let (mut done, client) = (Done::default(), realm.client());
                while !until.load(Ordering::Relaxed) {
                    match realm.token_with(&client).await {
                        Ok(_) => done.tokens += 1,
                        Err(error) => done.failures.push(error),
                    }
                }
                done
            });
            let (until, token, key) = (Arc::clone(&stop), token.clone(), key.clone());
            callers.spawn(async move {
                let (mut done, client) = (Done::default(), realm.client());
                while !until.load(Ordering::Relaxed) {
                    match realm.encrypt_with(&client, &token, &key, "under load").await {
                        Ok(_) => done.encryptions += 1,
                        Err(error) => done.failures.push(error),
                    }
                }
                done
            });
        }
        Self { stop, callers }
    }

    pub(crate) async fn stop(mut self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Done::default();
        while let Some(done) = self.callers.join_next().await {
            let done = done.unwrap();
            all.tokens += done.tokens;
            all.encryptions += done.encryptions;
            all.failures.extend(done.failures);
        }
        all
    }
}
