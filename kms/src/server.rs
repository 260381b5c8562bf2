//! Starting and stopping the KMS.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_auth::{
    BearerVerifier, IssuersState, JwksCache, JwksTimes, RevocationList, TrustedIssuer, follow_revocations,
};
use keyrealm_barrier::{Barrier, BarrierError, UnsealKey, UnsealKeyError};
use keyrealm_base::{SharedClock, SharedRandom};
use keyrealm_config::ConfigError;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_http::{Addresses, Check, Health, Limits, Routers, Serving, Sockets, Standard, Tasks};
use keyrealm_registry::{Condition, Presence, Registrar, RegistryError, Seen, Vitals};
use keyrealm_store::{Database, Product, Space, StoreError};
use keyrealm_tls::{IdentityFiles, ReloadingIdentity, TlsError, TrustBundle, Watch, client_config, read_private};

use crate::config::Config;
use crate::operate::Operations;
use crate::reconcile::Reconciler;
use crate::service::KeyService;
use crate::snapshot::Snapshots;
use crate::{openapi, routes, storage};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(5);
/// Revocations older than this are not believed to be all.
const REVOCATIONS_AGE: Duration = Duration::from_secs(30);

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
    /// Where hosts really are, for the issuer's key set.
    pub client: ClientOptions,
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
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A socket.
    #[error("cannot read a socket's address")]
    Socket(#[from] std::io::Error),
    /// The declared keys.
    #[error("cannot make the declared keys: {0}")]
    Reconcile(String),
}

/// The KMS.
pub struct Server;

/// A running KMS.
pub struct Running {
    addresses: Addresses,
    presence: Arc<Presence>,
    health: Health,
    serving: Serving,
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
        let Deps { database, clock, random, sockets, client } = deps;
        let addresses = sockets.addresses()?;
        let trust = TrustBundle::from_file(&config.tls.ca, clock.now())?;
        let files = IdentityFiles { certificate: config.tls.certificate.clone(), key: config.tls.key.clone() };
        let (identity, watch) = ReloadingIdentity::watch(files, trust.clone(), Arc::clone(&clock))?;
        let unseal = UnsealKey::parse(&read_private(&config.barrier.unseal_key_file)?)?;

        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(&clock), Arc::clone(&random));
        let meta = registrar.ensure_deployment("").await?;
        database.migrate(Space::Realm(Product::Kms), storage::REALM).await?;
        let barrier = Barrier::unseal(
            Arc::clone(&database),
            Product::Kms,
            meta.deployment_id,
            &unseal,
            Arc::clone(&clock),
            Arc::clone(&random),
        )
        .await?;

        let service =
            Arc::new(KeyService::new(Arc::clone(&database), barrier, Arc::clone(&clock), Arc::clone(&random)));
        let snapshots = Arc::new(Snapshots::new());
        let mut tasks = Tasks::default();
        tasks.spawn("epochs", {
            let (freshness, notices) = (Arc::clone(&service.freshness), database.notices());
            async move { freshness.follow(notices).await }
        });
        let notices = database.notices();
        let seen = Arc::new(Seen::default());
        let mut reconciler = Reconciler::new(Arc::clone(&service), Arc::clone(&snapshots), Arc::clone(&seen));
        reconciler.once().await.map_err(|error| StartError::Reconcile(error.to_string()))?;
        tasks.spawn("reconciler", reconciler.run(notices));

        let revocations = Arc::new(RevocationList::new(REVOCATIONS_AGE));
        let follow = follow_revocations(Arc::clone(&database), Arc::clone(&revocations), Arc::clone(&clock)).await?;
        tasks.spawn("revocations", follow);
        let client = HttpsClient::new(&client_config(&trust, Some(&identity))?, client);
        let issuers = config.auth.issuers.iter().map(|issuer| TrustedIssuer {
            issuer: issuer.issuer.clone(),
            keys: JwksCache::new(issuer.jwks_url.clone(), client.clone(), JwksTimes::default(), Arc::clone(&clock)),
        });
        let audience = config.server.public_url.clone();
        let verifier = Arc::new(BearerVerifier::new(issuers.collect(), audience, revocations, Arc::clone(&clock)));

        database.wait_fresh().await?;
        let health = Health::default();
        health.set("database", Check::Ok);
        let presence = Presence::new(Arc::clone(&database), Product::Kms, Arc::clone(&clock), &random);
        let watch_condition = Arc::clone(&presence).watch({
            let health = health.clone();
            move |condition| show(&health, condition)
        });
        tasks.spawn("condition", watch_condition);
        // As without any keys: a read that hangs must not bring callers who cannot be let in.
        health.set("issuers", Check::Failed("their keys are being read for the first time".to_owned()));
        let follow_keys = Arc::clone(&verifier).follow_keys({
            let health = health.clone();
            move |state| health.set("issuers", issuers_check(state))
        });
        tasks.spawn("issuers", follow_keys);
        let api = routes::router(verifier).finish(Arc::new(Operations { service, snapshots }));
        let shell = Standard { clock: Arc::clone(&clock), randomness: Arc::clone(&random), timeout: REQUEST_TIMEOUT };
        let routers = Routers::new(api, openapi::openapi(), health.clone(), shell);
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
        tracing::info!(public = %addresses.public, mtls = %addresses.mtls, admin = %addresses.admin, "the KMS serves");
        Ok(Running { addresses, presence, health, serving, tasks, _watch: watch })
    }
}

/// With the keys that are at hand, or for other issuers, it serves on.
fn issuers_check(state: IssuersState) -> Check {
    match state {
        IssuersState::Good => Check::Ok,
        IssuersState::Degraded(reason) => Check::Degraded(reason),
        IssuersState::Unusable(reason) => Check::Failed(reason),
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

    /// Waits until a task that should run for ever has ended, such as by a panic; the answer names it. The server does not
    /// work any more: shut it down.
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
