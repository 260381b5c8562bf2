//! The key sets of the issuers: fresh for a time, served stale for a bounded time while the issuer is away, read again
//! for an unknown `kid` at most once in a while, and by one request at a time. Without any that could be used it is tried
//! more often.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use keyrealm_base::{SharedClock, Timestamp};
use keyrealm_http::client::HttpsClient;
use keyrealm_jose::jwk::VerifyingKeys;
use url::Url;

/// How long key sets live.
#[derive(Debug, Clone, Copy)]
pub struct JwksTimes {
    /// A set younger than this is used as it is.
    pub fresh: Duration,
    /// A set older than this is not used at all.
    pub stale: Duration,
    /// The least time between two reads, whatever `kid`s are asked for.
    pub gap: Duration,
    /// The same while there is no set that could be used: an issuer that has just started is not made to wait.
    pub retry: Duration,
}

impl Default for JwksTimes {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(300),
            stale: Duration::from_secs(3600),
            gap: Duration::from_secs(10),
            retry: Duration::from_secs(1),
        }
    }
}

/// Why there is no key set.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("cannot read the key set at {url}: {reason}")]
pub struct JwksError {
    url: String,
    reason: String,
}

/// How it stands with an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksState {
    /// They are fresh.
    Fresh,
    /// They cannot be read now; those at hand are still used.
    Stale(JwksError),
    /// There are none that could be used: whoever has a token of this issuer is sent away.
    Unusable(JwksError),
}

struct Snapshot {
    keys: Arc<VerifyingKeys>,
    read: Timestamp,
}

type Fetch = Shared<BoxFuture<'static, Result<(), JwksError>>>;

/// One issuer's key set.
pub struct JwksCache(Arc<Inner>);

struct Inner {
    url: Url,
    client: HttpsClient,
    times: JwksTimes,
    clock: SharedClock,
    current: ArcSwapOption<Snapshot>,
    /// The read under way, if any, and when the last one began.
    fetch: Mutex<(Option<Fetch>, Option<Timestamp>)>,
}

impl JwksCache {
    /// A cache that reads nothing before it is asked.
    #[must_use]
    pub fn new(url: Url, client: HttpsClient, times: JwksTimes, clock: SharedClock) -> Self {
        let (current, fetch) = (ArcSwapOption::empty(), Mutex::default());
        Self(Arc::new(Inner { url, client, times, clock, current, fetch }))
    }

    /// The key set that should verify a token with this `kid`. A set without it is the answer when the issuer was asked
    /// too recently to be asked again.
    ///
    /// # Errors
    /// When there is no set within the stale bound and the issuer cannot be read.
    pub async fn keys_for(&self, kid: &str) -> Result<Arc<VerifyingKeys>, JwksError> {
        let now = self.0.clock.now();
        if let Some(snapshot) = self.0.current.load_full() {
            let age = now.since(snapshot.read);
            let known = snapshot.keys.contains(kid);
            if age < self.0.times.fresh && known {
                return Ok(Arc::clone(&snapshot.keys));
            }
            if age < self.0.times.stale && known {
                // Stale while revalidate: the caller does not wait for the issuer.
                drop(self.start(now));
                return Ok(Arc::clone(&snapshot.keys));
            }
        }
        let outcome = match self.start(now) {
            Some(fetch) => fetch.await,
            None => Ok(()),
        };
        match (self.usable(), outcome) {
            (Some(snapshot), _) => Ok(Arc::clone(&snapshot.keys)),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(self.last_error()),
        }
    }

    fn usable(&self) -> Option<Arc<Snapshot>> {
        let within = |snapshot: &Snapshot| self.0.clock.now().since(snapshot.read) < self.0.times.stale;
        self.0.current.load_full().filter(|snapshot| within(snapshot))
    }

    /// Why the last read failed; it is told until another one succeeds.
    fn last_error(&self) -> JwksError {
        let last = self.0.fetch.lock().ok().and_then(|state| state.0.as_ref()?.peek()?.clone().err());
        last.unwrap_or_else(|| self.0.error("it was asked a moment ago"))
    }

    /// Reads the set when the one at hand is no longer fresh.
    pub async fn refresh(&self) -> JwksState {
        let now = self.0.clock.now();
        if self.0.current.load().as_ref().is_some_and(|snapshot| now.since(snapshot.read) < self.0.times.fresh) {
            return JwksState::Fresh;
        }
        let outcome = match self.start(now) {
            Some(fetch) => fetch.await,
            None => Err(self.last_error()),
        };
        match outcome {
            Ok(()) => JwksState::Fresh,
            Err(error) if self.usable().is_some() => JwksState::Stale(error),
            Err(error) => JwksState::Unusable(error),
        }
    }

    /// Joins the read under way or starts one, unless the last one began a moment ago.
    fn start(&self, now: Timestamp) -> Option<Fetch> {
        let mut state = self.0.fetch.lock().ok()?;
        if let Some(fetch) = state.0.as_ref().filter(|fetch| fetch.peek().is_none()) {
            return Some(fetch.clone());
        }
        let gap = if self.usable().is_some() { self.0.times.gap } else { self.0.times.retry };
        if state.1.is_some_and(|began| now.since(began) < gap) {
            return None;
        }
        let inner = Arc::clone(&self.0);
        // In a task of its own: a caller that goes away does not stop the read that others wait for.
        let task = tokio::spawn(async move { inner.read().await });
        let lost = self.0.error("the read was stopped");
        let fetch = task.map(|done| done.unwrap_or(Err(lost))).boxed().shared();
        *state = (Some(fetch.clone()), Some(now));
        Some(fetch)
    }
}

impl Inner {
    fn error(&self, reason: impl ToString) -> JwksError {
        JwksError { url: self.url.to_string(), reason: reason.to_string() }
    }

    async fn read(&self) -> Result<(), JwksError> {
        let answer = self.client.get(&self.url).await.map_err(|error| self.error(error))?;
        if answer.status.as_u16() != 200 {
            return Err(self.error(format_args!("the issuer answered {}", answer.status)));
        }
        let keys = VerifyingKeys::parse(&answer.body).map_err(|error| self.error(error))?;
        let snapshot = Snapshot { keys: Arc::new(keys), read: self.clock.now() };
        self.current.store(Some(Arc::new(snapshot)));
        tracing::debug!(url = %self.url, "key set read");
        Ok(())
    }
}
