//! The hot operations: on a snapshot in memory, without the database.

use std::sync::Arc;

use keyrealm_base::{KeyId, TenantId, VersionId};
use keyrealm_crypto::{SecretBytes, ct_eq, sha256};
use keyrealm_jose::jwe::Encrypted;
use keyrealm_jose::jwk::{JwkSet, PublicJwk};
use keyrealm_jose::{b64, jws};
use keyrealm_store::{Product, TenantAccess};
use serde_json::{Map, Value};

use crate::domain::algorithm::{Algorithm, Material};
use crate::domain::key::{Operation, check_context};
use crate::error::KmsError;
use crate::service::KeyService;
use crate::snapshot::{Snapshot, Snapshots, Version};
use crate::storage::keys::Filter;
use crate::storage::usage;
use crate::usage::Take;

/// The operations of one process.
pub(crate) struct Operations {
    pub(crate) service: Arc<KeyService>,
    pub(crate) snapshots: Arc<Snapshots>,
}

/// The version that did it.
pub(crate) struct Done<T> {
    pub(crate) version_id: VersionId,
    pub(crate) version: u32,
    pub(crate) result: T,
}

/// The header member that binds a context to a signature: the base64url SHA-256 of its bytes.
const CONTEXT: &str = "ctx";

impl Operations {
    /// Encrypts with the newest version.
    pub(crate) async fn encrypt(
        self: &Arc<Self>,
        tenant: TenantId,
        id: KeyId,
        plaintext: SecretBytes,
        context: Option<String>,
    ) -> Result<Done<String>, KmsError> {
        let snapshot = self.usable(tenant, id, context.as_deref()).await?;
        let newest = newest(&snapshot)?;
        let Material::Encryption { key, counted } = &newest.material else { return Err(wrong_purpose(&snapshot)) };
        if *counted {
            self.count(tenant, newest).await?;
        }
        let context = context.as_deref().map(str::as_bytes);
        let random = self.service.random.as_ref();
        let ciphertext = key.encrypt(&newest.id.to_string(), context, plaintext.expose(), random)?;
        Ok(done(newest, ciphertext))
    }

    /// Decrypts with the version that the ciphertext names.
    pub(crate) async fn decrypt(
        &self,
        tenant: TenantId,
        id: KeyId,
        ciphertext: &str,
        context: Option<&str>,
    ) -> Result<Done<SecretBytes>, KmsError> {
        let snapshot = self.usable(tenant, id, context).await?;
        if !matches!(newest(&snapshot)?.material, Material::Encryption { .. }) {
            return Err(wrong_purpose(&snapshot));
        }
        let message = Encrypted::parse(ciphertext).map_err(|_| KmsError::Decrypt)?;
        let version = named(&snapshot, message.kid()).ok_or(KmsError::Decrypt)?;
        let Material::Encryption { key, .. } = &version.material else { return Err(KmsError::Decrypt) };
        let plaintext = key.decrypt(&message, context.map(str::as_bytes)).map_err(|_| KmsError::Decrypt)?;
        Ok(done(version, plaintext))
    }

    /// Signs with the newest version: a compact JWS with the payload inside.
    pub(crate) async fn sign(
        &self,
        tenant: TenantId,
        id: KeyId,
        payload: Vec<u8>,
        context: Option<&str>,
    ) -> Result<Done<String>, KmsError> {
        let snapshot = self.usable(tenant, id, context).await?;
        let newest = newest(&snapshot)?;
        let Material::Signature { scheme, .. } = &newest.material else { return Err(wrong_purpose(&snapshot)) };
        let mut header = Map::new();
        header.insert("kid".to_owned(), newest.id.to_string().into());
        if let Some(context) = context {
            header.insert(CONTEXT.to_owned(), context_member(context).into());
        }
        let signature = if scheme.slow {
            let snapshot = Arc::clone(&snapshot);
            self.service.slow(move || sign_newest(&snapshot, header, &payload)).await??
        } else {
            sign_newest(&snapshot, header, &payload)?
        };
        Ok(done(newest, signature))
    }

    /// Verifies with the version that the signature names; the answer is the payload.
    pub(crate) async fn verify(
        &self,
        tenant: TenantId,
        id: KeyId,
        signature: &str,
        context: Option<&str>,
    ) -> Result<Done<Vec<u8>>, KmsError> {
        let snapshot = self.usable(tenant, id, context).await?;
        if !matches!(newest(&snapshot)?.material, Material::Signature { .. }) {
            return Err(wrong_purpose(&snapshot));
        }
        let token = jws::Unverified::parse(signature).map_err(|_| KmsError::Verify)?;
        let version = token.header("kid").and_then(|kid| named(&snapshot, kid)).ok_or(KmsError::Verify)?;
        let Material::Signature { scheme, verifier, .. } = &version.material else { return Err(KmsError::Verify) };
        let verified = token.verify(scheme.name, verifier.as_ref()).map_err(|_| KmsError::Verify)?;
        let bound = match (verified.header.get(CONTEXT), context) {
            (None, None) => true,
            (Some(Value::String(member)), Some(context)) => {
                ct_eq(member.as_bytes(), context_member(context).as_bytes())
            }
            _ => false,
        };
        if bound { Ok(done(version, verified.payload)) } else { Err(KmsError::Verify) }
    }

    /// The public halves of all signing keys, every version under its id.
    pub(crate) async fn jwks(&self, tenant: TenantId) -> Result<JwkSet, KmsError> {
        self.service.database.check_fresh()?;
        let algorithms = Algorithm::signing().map(str::to_owned).collect();
        let filter = Filter { algorithms, size: u32::MAX, ..Filter::default() };
        let mut set = JwkSet::default();
        for key in self.service.keys(tenant, &filter).await?.0 {
            let snapshot = self.snapshots.get(&self.service, tenant, key.id).await?;
            for version in &snapshot.versions {
                if let Material::Signature { scheme, signer, .. } = &version.material {
                    set.keys.push(PublicJwk::new(version.id.to_string(), scheme, signer.public_key()));
                }
            }
        }
        Ok(set)
    }

    async fn usable(&self, tenant: TenantId, id: KeyId, context: Option<&str>) -> Result<Arc<Snapshot>, KmsError> {
        self.service.database.check_fresh()?;
        self.service.check_tenant(tenant)?;
        check_context(context).map_err(|reason| KmsError::Field { field: "context", reason })?;
        let snapshot = self.snapshots.get(&self.service, tenant, id).await?;
        if snapshot.key.state.allows(Operation::Use) { Ok(snapshot) } else { Err(KmsError::State(snapshot.key.state)) }
    }

    /// Counts one use; only when a block ends early does the caller wait for the database.
    async fn count(self: &Arc<Self>, tenant: TenantId, version: &Version) -> Result<(), KmsError> {
        loop {
            match version.usage.take() {
                Take::Granted => return Ok(()),
                Take::RunningLow => {
                    let (operations, usage, id) = (Arc::clone(self), Arc::clone(&version.usage), version.id);
                    tokio::spawn(async move {
                        let _one_at_a_time = usage.reservation().await;
                        if let Err(error) = operations.reserve(tenant, id, &usage).await {
                            usage.give_up();
                            tracing::warn!(%error, version = %id, "cannot reserve uses ahead");
                        }
                    });
                    return Ok(());
                }
                Take::Exhausted => Box::pin(self.reserve_once(tenant, version)).await?,
                Take::UsedUp => return Err(KmsError::UsedUp),
            }
        }
    }

    /// For all who found the block at its end: the first one reserves, the others find more when they look again.
    async fn reserve_once(&self, tenant: TenantId, version: &Version) -> Result<(), KmsError> {
        let _one_at_a_time = version.usage.reservation().await;
        if version.usage.is_exhausted() { self.reserve(tenant, version.id, &version.usage).await } else { Ok(()) }
    }

    async fn reserve(
        &self,
        tenant: TenantId,
        id: VersionId,
        counter: &crate::usage::UsageCounter,
    ) -> Result<(), KmsError> {
        let block = counter.block();
        let mut tx = self.service.database.tenant(Product::Kms, tenant, TenantAccess::Plain).await?;
        let end = usage::reserve(&mut tx, id, block).await?;
        tx.commit().await?;
        counter.add(end, block);
        Ok(())
    }
}

fn sign_newest(snapshot: &Snapshot, header: Map<String, Value>, payload: &[u8]) -> Result<String, KmsError> {
    let Material::Signature { scheme, signer, .. } = &newest(snapshot)?.material else {
        return Err(wrong_purpose(snapshot));
    };
    Ok(jws::sign(header, payload, scheme, signer.as_ref())?)
}

fn newest(snapshot: &Snapshot) -> Result<&Version, KmsError> {
    snapshot.versions.first().ok_or(KmsError::NotFound)
}

fn named<'a>(snapshot: &'a Snapshot, kid: &str) -> Option<&'a Version> {
    let id: VersionId = kid.parse().ok()?;
    snapshot.versions.iter().find(|version| version.id == id)
}

fn wrong_purpose(snapshot: &Snapshot) -> KmsError {
    KmsError::WrongPurpose { algorithm: snapshot.key.algorithm.clone() }
}

fn done<T>(version: &Version, result: T) -> Done<T> {
    Done { version_id: version.id, version: version.version, result }
}

fn context_member(context: &str) -> String {
    b64::encode(sha256(context.as_bytes()))
}
