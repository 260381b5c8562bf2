//! The measure of all things: a handler that reads the same body and does nothing with it, behind the same listener,
//! layers, token check and log as the KMS's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Json;
use keyrealm_auth::{BearerVerifier, JwksCache, JwksTimes, ProtectedRouter, RevocationList, Scope, TrustedIssuer};
use keyrealm_base::{SharedClock, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_http::{Check, Health, Limits, Routers, Sockets, Standard, extract};
use keyrealm_telemetry::Format;
use keyrealm_tls::{IdentityFiles, ReloadingIdentity, TrustBundle, client_config};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa_axum::routes;

/// What it needs to know.
#[derive(Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
    pub(crate) public: String,
    pub(crate) admin: String,
    pub(crate) audience: String,
    pub(crate) issuer: String,
    pub(crate) jwks_url: url::Url,
}

#[utoipa::path(post, path = "/empty", responses((status = 200, description = "Nothing")))]
async fn empty(_: extract::Json<Value>) -> Json<Value> {
    Json(json!({}))
}

/// Serves until it is killed.
pub(crate) async fn serve(path: &Path) -> Result<()> {
    let settings: Settings = serde_json::from_slice(&std::fs::read(path)?)?;
    keyrealm_telemetry::init(Format::Human, "info", std::io::stderr)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let trust = TrustBundle::from_file(&settings.ca, clock.now())?;
    let files = IdentityFiles { certificate: settings.certificate, key: settings.key };
    let (identity, _watch) = ReloadingIdentity::watch(files, trust.clone(), Arc::clone(&clock))?;
    let client = HttpsClient::new(&client_config(&trust, None)?, ClientOptions::default());
    let keys = JwksCache::new(settings.jwks_url, client, JwksTimes::default(), Arc::clone(&clock));
    let revocations = Arc::new(RevocationList::new(Duration::from_secs(86_400)));
    revocations.replace([], clock.now());
    let issuers = vec![TrustedIssuer { issuer: settings.issuer, keys }];
    let verifier = Arc::new(BearerVerifier::new(issuers, settings.audience, revocations, Arc::clone(&clock)));
    let api = ProtectedRouter::new(verifier).route(Scope::Sign, routes!(empty)).finish(());
    let health = Health::default();
    health.set("benchmark", Check::Ok);
    let shell = Standard { clock, randomness: Arc::new(SystemRandom), timeout: Duration::from_secs(30) };
    let sockets = Sockets::bind(&settings.public, "127.0.0.1:0", &settings.admin).await?;
    let routers = Routers::new(api, String::new(), health, shell);
    let _serving = sockets.serve(&identity, &trust, routers, Limits::default())?;
    std::future::pending().await
}
