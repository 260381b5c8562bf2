//! The realm's signing keys: ES256 for access tokens, RS256 for id_tokens. Made once, sealed, parsed once.

use std::sync::Arc;

use keyrealm_barrier::{Barrier, Record};
use keyrealm_base::{ObjectId, SharedClock, SharedRandom};
use keyrealm_crypto::CryptoError;
use keyrealm_crypto::sign::{ES256, RS256, SignatureScheme, Signer};
use keyrealm_jose::jwk::{JwkSet, JwkSetError, PublicJwk, VerifyingKeys};
use keyrealm_jose::jws;
use keyrealm_store::{Database, Passing, Product, StoreError};
use serde::Serialize;

use crate::storage::signing_keys;

/// Why there are no signing keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The barrier.
    #[error(transparent)]
    Barrier(#[from] keyrealm_barrier::BarrierError),
    /// A row was changed.
    #[error("the signing key of {0} failed its integrity check")]
    Integrity(&'static str),
    /// The library.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Our own key set.
    #[error(transparent)]
    Set(#[from] JwkSetError),
}

impl Passing for KeysError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            Self::Barrier(error) => error.is_passing(),
            _ => false,
        }
    }
}

struct Key {
    scheme: &'static SignatureScheme,
    signer: Box<dyn Signer>,
    kid: String,
    /// What every token of the key begins with.
    header: jws::Header,
}

/// The signing keys of this realm.
pub(crate) struct SigningKeys {
    access: Key,
    id: Key,
    /// The published key set, as it is served.
    pub(crate) published: String,
    /// The same, for verifying our own tokens.
    pub(crate) verifying: VerifyingKeys,
}

impl SigningKeys {
    /// Opens the keys, or makes them in a new realm.
    pub(crate) async fn load(
        database: &Database,
        barrier: &Barrier,
        clock: &SharedClock,
        random: &SharedRandom,
    ) -> Result<Arc<Self>, KeysError> {
        let access = key(database, barrier, clock, random, (&ES256, "at+jwt")).await?;
        let id = key(database, barrier, clock, random, (&RS256, "JWT")).await?;
        let keys = [&access, &id].map(|key| PublicJwk::new(&key.kid, key.scheme, key.signer.public_key())).to_vec();
        let published = serde_json::to_string(&JwkSet { keys }).unwrap_or_default();
        let verifying = VerifyingKeys::parse(published.as_bytes())?;
        Ok(Arc::new(Self { access, id, published, verifying }))
    }

    /// Signs an access token (RFC 9068, section 2.1).
    pub(crate) fn sign_access(&self, claims: &impl Serialize) -> Result<String, CryptoError> {
        sign(&self.access, claims)
    }

    /// Signs an id_token.
    pub(crate) fn sign_id(&self, claims: &impl Serialize) -> Result<String, CryptoError> {
        sign(&self.id, claims)
    }
}

fn sign(key: &Key, claims: &impl Serialize) -> Result<String, CryptoError> {
    let claims = serde_json::to_vec(claims).map_err(|_| CryptoError::Failed("writing the claims"))?;
    key.header.sign(&claims, key.signer.as_ref())
}

async fn key(
    database: &Database,
    barrier: &Barrier,
    clock: &SharedClock,
    random: &SharedRandom,
    (scheme, typ): (&'static SignatureScheme, &str),
) -> Result<Key, KeysError> {
    let sealer = barrier.realm().await?;
    let mut tx = database.realm(Product::Identity).await?;
    let mut found = signing_keys::get(&mut tx, scheme.name).await?;
    drop(tx);
    if found.is_none() {
        let id = ObjectId::new(clock.as_ref(), random.as_ref());
        // RSA takes long: not on an async thread, and outside any transaction.
        let made = tokio::task::spawn_blocking(|| scheme.generate()).await;
        let private = made.map_err(|_| CryptoError::Failed("key generation"))??;
        let sealed = sealer.seal(&record(id.as_bytes(), scheme.name), &private)?;
        let mut tx = database.realm(Product::Identity).await?;
        signing_keys::insert(&mut tx, scheme.name, id, sealed).await?;
        // Of two processes, the first one's key is everybody's.
        found = signing_keys::get(&mut tx, scheme.name).await?;
        tx.commit().await?;
    }
    let (id, sealed) = found.ok_or(StoreError::Column("sealed"))?;
    let private =
        sealer.open(&record(id.as_bytes(), scheme.name), &sealed).map_err(|_| KeysError::Integrity(scheme.name))?;
    let signer = scheme.signer(&private)?;
    let kid = keyrealm_jose::jwk::thumbprint(signer.public_key());
    let members = [("typ".to_owned(), typ.into()), ("kid".to_owned(), kid.as_str().into())];
    let header = jws::Header::new(members.into_iter().collect(), scheme);
    Ok(Key { scheme, signer, kid, header })
}

fn record<'a>(row: &'a [u8], algorithm: &'a str) -> Record<'a> {
    Record { table: "signing_keys", row, version: 0, purpose: algorithm, metadata: &[], state_seq: 0 }
}
