//! A token issuer with a key set behind real TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use keyrealm_base::{SharedClock, TenantId};
use keyrealm_crypto::sign::{ES256, Signer};
use keyrealm_http::{Limits, Listener, Serving};
use keyrealm_jose::jwk::{JwkSet, PublicJwk};
use keyrealm_jose::jws;
use keyrealm_tls::{ClientAuth, server_config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::TestTls;

/// Signs access tokens of any content.
pub struct TestIssuer {
    /// `iss`.
    pub issuer: String,
    /// Where the key set is.
    pub jwks_url: Url,
    /// How often the key set was read.
    pub reads: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
    hanging: Arc<AtomicBool>,
    signer: Box<dyn Signer>,
    kid: String,
    clock: SharedClock,
    audience: String,
    _serving: Serving,
}

impl TestIssuer {
    /// Starts the key set's server.
    pub async fn start(tls: &TestTls, clock: SharedClock, audience: &str) -> Self {
        let signer = ES256.signer(&ES256.generate().unwrap()).unwrap();
        let jwk = PublicJwk::named_by_thumbprint(&ES256, signer.public_key());
        let kid = jwk.kid.clone();
        let set = serde_json::to_string(&JwkSet { keys: vec![jwk] }).unwrap();
        let (reads, down) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let hanging = Arc::new(AtomicBool::new(false));
        let handler = {
            let (reads, down, hanging) = (Arc::clone(&reads), Arc::clone(&down), Arc::clone(&hanging));
            async move || {
                reads.fetch_add(1, Ordering::SeqCst);
                if hanging.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let status = if down.load(Ordering::SeqCst) { 500 } else { 200 };
                (axum::http::StatusCode::from_u16(status).unwrap(), set)
            }
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let tls = server_config(&tls.identity, &ClientAuth::None).unwrap();
        let router = Router::new().route("/jwks", get(handler));
        let serving = Serving::start(vec![Listener { name: "issuer", socket, tls, router }], Limits::default());
        let issuer = format!("https://localhost:{port}");
        let jwks_url = format!("{issuer}/jwks").parse().unwrap();
        Self {
            issuer,
            jwks_url,
            reads,
            down,
            hanging,
            signer,
            kid,
            clock,
            audience: audience.to_owned(),
            _serving: serving,
        }
    }

    /// From now on the key set answers 500, or 200 again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// From now on the key set is never answered, or is again.
    pub fn set_hanging(&self, hanging: bool) {
        self.hanging.store(hanging, Ordering::SeqCst);
    }

    /// The claims of a good token.
    #[must_use]
    pub fn claims(&self, tenant: Option<TenantId>, scope: &str) -> Value {
        let now = self.clock.now().seconds();
        let mut claims = json!({
            "iss": self.issuer, "aud": self.audience, "sub": "test-user", "client_id": "test-client", "jti": "test-jti",
            "iat": now, "nbf": now - 10, "exp": now + 600, "scope": scope,
        });
        if let (Some(tenant), Some(claims)) = (tenant, claims.as_object_mut()) {
            claims.insert("tenant_id".to_owned(), tenant.to_string().into());
        }
        claims
    }

    /// A token with these header members (over the good ones) and claims.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let mut members = serde_json::Map::new();
        members.insert("typ".to_owned(), "at+jwt".into());
        members.insert("kid".to_owned(), self.kid.as_str().into());
        members.extend(header.as_object().unwrap().clone());
        jws::sign(members, claims.to_string().as_bytes(), &ES256, self.signer.as_ref()).unwrap()
    }

    /// A good token.
    #[must_use]
    pub fn token(&self, tenant: TenantId, scope: &str) -> String {
        self.sign(&json!({}), &self.claims(Some(tenant), scope))
    }
}
