//! Starting and stopping the identity server.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_auth::{RevocationList, follow_revocations};
use keyrealm_barrier::{Barrier, BarrierError, UnsealKey, UnsealKeyError};
use keyrealm_base::{SharedClock, SharedRandom};
use keyrealm_config::ConfigError;
use keyrealm_crypto::password::{PasswordHash, PasswordPool, PasswordPoolError};
use keyrealm_http::{Addresses, Api, Check, Health, Limits, Routers, Serving, Sockets, Standard, Tasks};
use keyrealm_registry::{Condition, Presence, Registrar, RegistryError, Seen, Vitals};
use keyrealm_store::{Database, Product, Space, StoreError};
use keyrealm_tls::{IdentityFiles, ReloadingIdentity, TlsError, TrustBundle, Watch, read_private};

use crate::app::App;
use crate::config::Config;
use crate::directory::Directory;
use crate::keys::{KeysError, SigningKeys};
use crate::reconcile::Reconciler;
use crate::revoke::{REQUEST_TIMEOUT, Revoker};
use crate::throttle::Throttle;
use crate::{endpoints, openapi, purge, storage};

const GRACE: Duration = Duration::from_secs(10);
const REVOCATIONS_AGE: Duration = Duration::from_secs(30);
/// Log-ins that may wait for a password thread.
const PASSWORD_QUEUE: usize = 64;

/// What the server is given.
pub struct Deps {
    /// Open; shared with the other product when both run in one process.
    pub database: Arc<Database>,
    /// The clock.
    pub clock: SharedClock,
    /// Randomness.
    pub random: SharedRandom,
    /// Bound already, so that their addresses are known.
    pub sockets: Sockets,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificates or files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The unseal key's file.
    #[error("barrier.unseal_key_file cannot be used")]
    UnsealKey(#[from] UnsealKeyError),
    /// The barrier.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password threads.
    #[error(transparent)]
    Passwords(#[from] PasswordPoolError),
    /// A socket.
    #[error("cannot read a socket's address")]
    Socket(#[from] std::io::Error),
}

/// The identity server.
pub struct Server;

/// A running identity server.
pub struct Running {
    addresses: Addresses,
    presence: Arc<Presence>,
    health: Health,
    serving: Serving,
    /// Each ends with its name, and none should end.
    tasks: Tasks,
    _watch: Watch,
}

impl Server {
    /// Starts; when it returns, the server answers.
    ///
    /// # Errors
    /// Whatever is missing or wrong, by name.
    pub async fn start(config: Config, deps: Deps) -> Result<Running, StartError> {
        config.check()?;
        let Deps { database, clock, random, sockets } = deps;
        let addresses = sockets.addresses()?;
        let trust = TrustBundle::from_file(&config.tls.ca, clock.now())?;
        let files = IdentityFiles { certificate: config.tls.certificate.clone(), key: config.tls.key.clone() };
        let (identity, watch) = ReloadingIdentity::watch(files, trust.clone(), Arc::clone(&clock))?;
        let unseal = UnsealKey::parse(&read_private(&config.barrier.unseal_key_file)?)?;

        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(&clock), Arc::clone(&random));
        let meta = registrar.ensure_deployment("").await?;
        database.migrate(Space::Realm(Product::Identity), storage::REALM).await?;
        let (own_clock, own_random) = (Arc::clone(&clock), Arc::clone(&random));
        let own_database = Arc::clone(&database);
        let product = Product::Identity;
        let barrier =
            Barrier::unseal(own_database, product, meta.deployment_id, &unseal, own_clock, own_random).await?;
        let keys = SigningKeys::load(&database, &barrier, &clock, &random).await?;

        let mut tasks = Tasks::default();
        let directory = Arc::new(Directory::new(Arc::clone(&database)));
        tasks.spawn("epochs", {
            let (directory, notices) = (Arc::clone(&directory), database.notices());
            async move { directory.epochs.follow(Product::Identity, notices, || directory.forget()).await }
        });
        let revocations = Arc::new(RevocationList::new(REVOCATIONS_AGE));
        let follow = follow_revocations(Arc::clone(&database), Arc::clone(&revocations), Arc::clone(&clock)).await?;
        tasks.spawn("revocations", follow);
        let list = Arc::clone(&revocations);
        let revoker = Arc::new(Revoker::new(Arc::clone(&database), Arc::clone(&clock), list, &config.tokens));
        let seen = Arc::new(Seen::default());
        let mut reconciler = Reconciler::new(
            Arc::clone(&database),
            Arc::clone(&directory),
            Arc::clone(&revoker),
            Arc::clone(&clock),
            Arc::clone(&random),
            Arc::clone(&seen),
        );
        let notices = database.notices();
        reconciler.once().await?;
        tasks.spawn("reconcile", reconciler.run(notices));
        let (own, own_clock) = (Arc::clone(&directory), Arc::clone(&clock));
        tasks.spawn("purge", purge::run(Arc::clone(&database), own, own_clock, config.tokens.clone()));

        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let app = Arc::new(App {
            database: Arc::clone(&database),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            issuer: config.server.public_url.clone(),
            audience: config.tokens.audience.clone(),
            lifetimes: config.tokens.clone(),
            keys,
            directory,
            revocations,
            revoker,
            passwords: PasswordPool::start(threads, PASSWORD_QUEUE)?,
            dummy: PasswordHash::dummy(random.as_ref()),
            throttle: Throttle::new(),
        });
        database.wait_fresh().await?;
        let health = Health::default();
        health.set("database", Check::Ok);
        let presence = Presence::new(Arc::clone(&database), Product::Identity, Arc::clone(&clock), &random);
        let watch_presence = Arc::clone(&presence).watch({
            let health = health.clone();
            move |condition| show(&health, condition)
        });
        tasks.spawn("presence", watch_presence);
        let (api, _) = endpoints::router().split_for_parts();
        let api = api.with_state(app);
        let shell = Standard { clock: Arc::clone(&clock), randomness: Arc::clone(&random), timeout: REQUEST_TIMEOUT };
        #[allow(clippy::disallowed_methods, reason = "OAuth's endpoints check their callers themselves")]
        let routers = Routers::new(Api::open(api), openapi::openapi(), health.clone(), shell);
        let serving = sockets.serve(&identity, &trust, routers, Limits::default())?;
        let vitals = {
            let (health, bundle) = (health.clone(), trust.sha256().to_owned());
            move || Vitals {
                ready: health.is_ready(),
                chain_sha256: identity.current().chain_sha256().to_owned(),
                bundle_sha256: bundle.clone(),
                schema_version: storage::TENANT.last().map_or(0, |last| last.version),
                seen: seen.get(),
            }
        };
        tasks.spawn("heartbeat", Arc::clone(&presence).beat(vitals));
        tracing::info!(issuer = config.server.public_url, public = %addresses.public, "identity serves");
        Ok(Running { addresses, presence, health, serving, tasks, _watch: watch })
    }
}

/// What cannot be made does not stop the others, but it shows.
fn show(health: &Health, condition: Condition) {
    let (database, declared) = match condition {
        Condition::Good => (Check::Ok, Check::Ok),
        Condition::Declared(failures) => (Check::Ok, Check::Degraded(failures)),
        Condition::Database(error) => return health.set("database", Check::Failed(error)),
    };
    health.set("database", database);
    health.set("declared", declared);
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until a part that works in the background ends, which none should before the server is shut down.
    pub async fn failed(&mut self) -> String {
        self.tasks.failed(&self.health).await
    }

    /// Ends in order: not ready, no new connections, requests under way finish, the instance's row goes.
    pub async fn shutdown(self) {
        self.health.set("stopping", Check::Failed("the server is stopping".to_owned()));
        if !self.serving.stop(GRACE).await {
            tracing::warn!("requests were cut off after {} s", GRACE.as_secs());
        }
        self.tasks.shutdown().await;
        self.presence.leave().await;
    }
}
