//! `operator run`: the parts put together, the first that fails ends all, SIGTERM hands over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use crds::client::{Access, ApiServer, Retry};
use keyrealm_base::{SharedClock, SharedRandom};
use keyrealm_http::{Check, Health, Tasks};
use tokio::sync::{oneshot, watch};

use crate::applied::AppliedMemory;
use crate::config::Settings;
use crate::context::Context;
use crate::controller::follow_databases;
use crate::databases::Databases;
use crate::events::Events;
use crate::failpoint::Failpoint;
use crate::health::{AdminChain, Looks};
use crate::journal::Journal;
use crate::lease::{Candidate, Leadership, LeaseError, Timing};
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::wake::Queues;
use crate::watch::{Watches, names};

/// The longest that giving the Lease back may take.
const RELEASE: Duration = Duration::from_millis(1500);

/// What production and tests give differently.
pub struct Deps {
    /// The time.
    pub clock: SharedClock,
    /// Randomness.
    pub random: SharedRandom,
    /// Points for tests.
    pub failpoint: Failpoint,
    /// What works on each kind: [`crate::controller::start`].
    pub controllers: Controllers,
    /// Whether the calls are kept, for [`Parts::journal`].
    pub record: bool,
    /// Is told each call, for comparisons over several processes.
    pub told: Option<crate::journal::Told>,
}

/// Starts what works on each kind.
pub type Controllers = fn(&mut Tasks, &Arc<Context>);

/// The parts, before anything runs.
pub struct Parts {
    /// What passes are given.
    pub context: Arc<Context>,
    /// What goes to the API server.
    pub journal: Journal,
    /// Sends events.
    pub events: crate::events::Sender,
    server: ApiServer,
}

impl Parts {
    /// Connects (nothing is sent yet) and makes the parts.
    ///
    /// # Errors
    /// When there is no API server to be used.
    pub async fn new(settings: Settings, deps: &Deps) -> Result<Self> {
        let access = Access { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() };
        let server = ApiServer::find(&access).await?;
        let metrics = Metrics::default();
        let leadership = if settings.lease.enabled {
            Leadership::none(Arc::clone(&deps.clock))
        } else {
            Leadership::always(Arc::clone(&deps.clock))
        };
        let journal = Journal::new(metrics.clone(), Some(leadership.clone()));
        let journal = if deps.record { journal.recording() } else { journal };
        let journal = journal.telling(deps.told);
        let client = server.client_over(Retry::Bounded, |transport| journal.over(transport))?;
        let applied = AppliedMemory::default();
        let stores = Stores::new(names(&settings.watch.namespaces), Queues::default(), applied.clone());
        let (events, sender) = Events::new();
        let context = Arc::new(Context {
            client,
            settings,
            clock: Arc::clone(&deps.clock),
            random: Arc::clone(&deps.random),
            stores,
            applied,
            databases: Databases::new(Arc::clone(&deps.clock), Arc::clone(&deps.random)),
            metrics,
            events,
            failpoint: deps.failpoint.clone(),
            leadership,
        });
        Ok(Self { context, journal, events: sender, server })
    }

    /// Starts the watches.
    pub fn watch(&self, tasks: &mut Tasks) {
        let Context { client, stores, metrics, clock, settings, .. } = self.context.as_ref();
        let watches = Watches {
            client: client.clone(),
            stores: stores.clone(),
            metrics: metrics.clone(),
            clock: Arc::clone(clock),
        };
        watches.start(&settings.watch.namespaces, tasks);
    }

    fn candidate(&self) -> Result<Candidate> {
        let Context { settings, leadership, random, .. } = self.context.as_ref();
        let lease = &settings.lease;
        let timing = Timing { duration: lease.duration(), renew: lease.renew(), retry: lease.retry() };
        let namespace = settings.lease_namespace(self.server.namespace());
        let journal = self.journal.ungated();
        let client = self.server.client_over(Retry::None, |transport| journal.over(transport))?;
        let random: String = random.bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let pod = if settings.pod.name.is_empty() { "operator" } else { &settings.pod.name };
        // A container that starts anew in its pod is another process.
        Ok(Candidate::new(client, (&namespace, &lease.name), format!("{pod}_{random}"), timing, leadership.clone()))
    }
}

/// Runs until `stop`, or until something fails.
///
/// # Errors
/// When something without which the operator cannot go on fails: the process ends, and a new one starts.
pub async fn run(settings: Settings, deps: Deps, stop: impl Future<Output = ()>) -> Result<()> {
    let parts = Parts::new(settings, &deps).await?;
    let context = Arc::clone(&parts.context);
    let health = Health::default();
    health.set("stores", Check::Failed("starting".to_owned()));
    let chain = AdminChain::make(&context.settings.runtime_dir, Arc::clone(&deps.clock), Arc::clone(&deps.random))?;
    // Before anything else: a follower is alive and ready, too.
    let admin = chain.serve(&context.settings.server.admin, health.clone(), context.metrics.clone()).await?;
    tracing::info!(api_server = %parts.server.url(), admin = %admin.address, "the operator starts");
    let mut tasks = Tasks::default();
    parts.watch(&mut tasks);
    tasks.spawn("certificates", chain.renew());
    tasks.spawn("databases", follow_databases(Arc::clone(&context)));
    let looks = Looks {
        stores: context.stores.clone(),
        journal: parts.journal.clone(),
        metrics: context.metrics.clone(),
        health: health.clone(),
    };
    tasks.spawn("watchdog", looks.run());
    context.metrics.leader(false);
    let (mut election, mut leads) = if context.settings.lease.enabled {
        let candidate = parts.candidate()?;
        let leads = candidate.leads();
        (Some(Elected::start(candidate)), leads)
    } else {
        (None, watch::channel(true).1)
    };
    let instance = if context.settings.pod.name.is_empty() { "operator" } else { &context.settings.pod.name };
    tasks.spawn("events", parts.events.run(context.client.clone(), instance.to_owned()));
    let mut controllers = Tasks::default();
    let failed = {
        let work = async {
            context.stores.wait_until_ready().await;
            if leads.wait_for(|leads| *leads).await.is_ok() {
                context.metrics.leader(true);
                tracing::info!("work begins");
                (deps.controllers)(&mut controllers, &context);
            }
            controllers.failed(&health).await
        };
        tokio::select! {
            () = stop => None,
            failed = work => Some(failed),
            failed = tasks.failed(&health) => Some(failed),
            lost = Elected::ended(&mut election) => Some(lost),
        }
    };
    context.metrics.leader(false);
    // From here on nothing is written; what is under way is dropped before another process may begin.
    context.leadership.end();
    controllers.shutdown().await;
    if let Some(election) = election {
        election.stop().await;
    }
    tasks.shutdown().await;
    admin.stop().await;
    match failed {
        Some(failed) => bail!("{failed}; without it the operator cannot go on"),
        None => Ok(()),
    }
}

/// The election, as a task.
struct Elected {
    stop: oneshot::Sender<()>,
    task: tokio_util::task::AbortOnDropHandle<Result<(), LeaseError>>,
}

impl Elected {
    fn start(candidate: Candidate) -> Self {
        let (stop, stopped) = oneshot::channel();
        let work = candidate.run(async {
            // Dropped without a word is a stop, too.
            let _ = stopped.await;
        });
        Self { stop, task: tokio_util::task::AbortOnDropHandle::new(tokio::spawn(work)) }
    }

    /// Waits for an end that nobody asked for.
    async fn ended(election: &mut Option<Self>) -> String {
        let Some(election) = election else { return std::future::pending().await };
        match (&mut election.task).await {
            Ok(Ok(())) => "the election ended".to_owned(),
            Ok(Err(lost)) => lost.to_string(),
            Err(error) => format!("the election: {error}"),
        }
    }

    /// Gives the Lease back.
    async fn stop(self) {
        if !self.task.is_finished() {
            let _ = self.stop.send(());
            let _ = tokio::time::timeout(RELEASE, self.task).await;
        }
    }
}
