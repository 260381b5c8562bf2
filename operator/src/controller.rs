//! Takes objects from their queue and has them looked at: sixteen at a time, never one twice at once, again after an error
//! with a growing pause.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::unfold;
use futures_util::{FutureExt, StreamExt};
use keyrealm_base::SharedRandom;
use keyrealm_http::Tasks;
use kube::ResourceExt;
use kube::runtime::controller::{Action, Config, Error, applier};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::task::AbortOnDropHandle;

use crate::context::Context;
use crate::databases::{Change, RealmKey};
use crate::stores::{Kind, realm_of};
use crate::wake::{Key, OwnerKind, Wake};

/// Objects of a kind that are looked at at a time.
const CONCURRENCY: u16 = 16;
/// Events that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// The longest pass. Each call in it has its own, shorter limit.
const PASS: Duration = Duration::from_secs(300);

/// Starts what works on each kind: one line a kind.
pub fn start(tasks: &mut Tasks, context: &Arc<Context>) {
    work(tasks, context, crate::demo_environment::reconcile);
    work(tasks, context, crate::realm::reconcile);
    work::<crds::Tenant, _, _, _>(tasks, context, crate::tenant::reconciler());
}

/// Works on one kind. Call it once the stores are filled and this process leads.
pub fn work<K, R, F, E>(tasks: &mut Tasks, context: &Arc<Context>, reconcile: R)
where
    K: Kind,
    R: Fn(Arc<K>, Arc<Context>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Action, E>> + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    context.stores.wake_all(K::KIND);
    tasks.spawn(K::KIND.name(), run(Arc::clone(context), reconcile));
}

async fn run<K, R, F, E>(context: Arc<Context>, reconcile: R)
where
    K: Kind,
    R: Fn(Arc<K>, Arc<Context>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Action, E>> + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    let queue = context.stores.queues().of(K::KIND).clone();
    let requests = unfold(queue.clone(), |queue| async move {
        let (namespace, name) = queue.next().await;
        Some((Ok::<_, Infallible>(ObjectRef::<K>::new(&name).within(&namespace)), queue))
    });
    let backoffs = Arc::new(Backoffs::new(Arc::clone(&context.random)));
    let passes = {
        let (queue, backoffs) = (queue.clone(), Arc::clone(&backoffs));
        move |object: Arc<K>, context: Arc<Context>| {
            let key = (object.namespace().unwrap_or_default(), object.name_any());
            if let Some(waited) = queue.begin(&key) {
                context.metrics.dequeued(K::KIND.name(), waited);
            }
            context.metrics.queue_depth(K::KIND.name(), queue.depth());
            let pass = reconcile(object, Arc::clone(&context));
            // Its own task, so that passes use every core; it ends with this one.
            let pass = AbortOnDropHandle::new(tokio::spawn(tokio::time::timeout(PASS, pass)));
            let backoffs = Arc::clone(&backoffs);
            async move { Ok::<_, Infallible>(ended::<K, E>(&context, &backoffs, key, pass).await) }.boxed()
        }
    };
    let never = |_: Arc<K>, never: &Infallible, _: Arc<Context>| match *never {};
    let config = Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    let store = K::feed(&context.stores).store().clone();
    applier(passes, never, context, store, requests.boxed(), config)
        .for_each(|ended| {
            if let Err(Error::ObjectNotFound(object)) = ended {
                let key = (object.namespace.clone().unwrap_or_default(), object.name.clone());
                let _ = queue.begin(&key);
                backoffs.reset(&key);
            }
            std::future::ready(())
        })
        .await;
}

async fn ended<K, E>(
    context: &Context,
    backoffs: &Backoffs,
    key: Key,
    pass: AbortOnDropHandle<Result<Result<Action, E>, tokio::time::error::Elapsed>>,
) -> Action
where
    K: Kind,
    E: std::error::Error + Send + 'static,
{
    let began = Instant::now();
    let outcome = match pass.await {
        Ok(outcome) => outcome,
        // The task of this controller ends with it, and so does the process.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => return Action::await_change(),
    };
    let (kind, took) = (K::KIND.name(), began.elapsed());
    let failed = match outcome {
        Ok(Ok(action)) => {
            backoffs.reset(&key);
            context.metrics.reconciled(kind, "ok", took);
            return action;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the pass took longer than {} s", PASS.as_secs()),
    };
    let pause = backoffs.next(&key);
    context.metrics.reconciled(kind, "error", took);
    let (namespace, name) = key;
    tracing::warn!(kind, namespace, name, error = failed, again_in_ms = millis(pause), "a pass failed");
    Action::requeue(pause)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Wakes those whose database changed.
pub async fn follow_databases(context: Arc<Context>) {
    let mut changes = context.databases.subscribe();
    let all = || OwnerKind::ALL.into_iter().for_each(|kind| context.stores.wake_all(kind));
    loop {
        let mut told = HashSet::new();
        let mut next = changes.recv().await;
        // What is told together is looked for once.
        loop {
            match next {
                Ok(change) => {
                    told.insert(change);
                }
                Err(RecvError::Lagged(_)) => all(),
                // Its sender lives in the context.
                Err(RecvError::Closed) => return,
            }
            next = match changes.try_recv() {
                Ok(change) => Ok(change),
                Err(TryRecvError::Lagged(count)) => Err(RecvError::Lagged(count)),
                Err(TryRecvError::Closed) => return,
                Err(TryRecvError::Empty) => break,
            };
        }
        let realms = told.iter().filter_map(|change| match change {
            Change::Realm(realm) => Some(Wake::new(OwnerKind::Realm, &realm.namespace, &realm.name)),
            Change::Opened(_) | Change::Tenant(..) => None,
        });
        context.stores.queues().wake(realms);
        if told.iter().all(|change| matches!(change, Change::Realm(_))) {
            continue;
        }
        let found = context.stores.tenants().state_filter(|tenant| {
            let (namespace, name) = realm_of(tenant);
            let realm = RealmKey { namespace, name };
            let known = tenant.status.as_ref().and_then(|status| status.tenant_id.as_deref()?.parse().ok());
            known.is_some_and(|id| told.contains(&Change::Tenant(realm.clone(), id)))
                || told.contains(&Change::Opened(realm))
        });
        context.stores.queues().wake(found.iter().map(|tenant| tenant_wake(tenant)));
    }
}

fn tenant_wake(tenant: &crds::Tenant) -> Wake {
    Wake::new(OwnerKind::Tenant, &tenant.namespace().unwrap_or_default(), &tenant.name_any())
}

/// Growing pauses, an object each: 0.5 s, doubled up to 5 min, a fifth more or less by chance.
pub struct Backoffs {
    random: SharedRandom,
    failures: Mutex<HashMap<Key, u32>>,
}

impl Backoffs {
    /// None so far.
    #[must_use]
    pub fn new(random: SharedRandom) -> Self {
        Self { random, failures: Mutex::default() }
    }

    /// It failed once more: the pause before the next pass.
    #[must_use]
    pub fn next(&self, key: &Key) -> Duration {
        let failures = self.failures.lock().map_or(0, |mut failures| {
            let count = failures.entry(key.clone()).or_default();
            *count = count.saturating_add(1);
            *count
        });
        let pause = Duration::from_millis(500).saturating_mul(1 << failures.saturating_sub(1).min(20));
        let [byte] = self.random.bytes::<1>();
        pause.min(Duration::from_secs(300)).mul_f64(0.8 + 0.4 * f64::from(byte) / 255.0)
    }

    /// It succeeded, or is gone.
    pub fn reset(&self, key: &Key) {
        if let Ok(mut failures) = self.failures.lock() {
            failures.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;

    use super::*;

    #[test]
    fn pauses_grow_each_object_for_itself_and_start_anew_after_success() {
        let backoffs = Backoffs::new(Arc::new(SystemRandom));
        let (a, b) = (("n".to_owned(), "a".to_owned()), ("n".to_owned(), "b".to_owned()));
        let within = |pause: Duration, middle: f64| {
            assert!((middle * 0.8..=middle * 1.2).contains(&pause.as_secs_f64()), "{pause:?} {middle}");
        };
        for middle in [0.5, 1.0, 2.0, 4.0] {
            within(backoffs.next(&a), middle);
        }
        within(backoffs.next(&b), 0.5);
        (0..100).for_each(|_| assert!(backoffs.next(&a) <= Duration::from_secs(360)));
        backoffs.reset(&a);
        within(backoffs.next(&a), 0.5);
        assert_eq!(backoffs.failures.lock().unwrap().len(), 2);
    }
}
