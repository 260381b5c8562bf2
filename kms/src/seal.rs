//! How rows of keys and versions are sealed, opened, and counted into a tenant's head.

use keyrealm_barrier::{Record, RecordSet, Sealer};
use keyrealm_crypto::{CryptoError, SecretBytes};

use crate::domain::key::Key;
use crate::error::KmsError;
use crate::storage::keys::StoredKey;
use crate::storage::versions::StoredVersion;

pub(crate) const KEYS: &str = "keys";
pub(crate) const VERSIONS: &str = "key_versions";

fn key_record<'a>(key: &'a Key, metadata: &'a [u8], state_seq: u64) -> Record<'a> {
    Record { table: KEYS, row: key.id.as_bytes(), version: 0, purpose: "key-state", metadata, state_seq }
}

fn version_record<'a>(version: &'a StoredVersion, algorithm: &'a str, metadata: &'a [u8]) -> Record<'a> {
    Record {
        table: VERSIONS,
        row: version.id.as_bytes(),
        version: u64::from(version.version),
        purpose: algorithm,
        metadata,
        state_seq: version.state_seq,
    }
}

fn version_metadata(version: &StoredVersion) -> Vec<u8> {
    serde_json::json!([version.key_id, version.created_at.millis()]).to_string().into_bytes()
}

/// Seals a key's row: there is no content, the seal binds the columns.
pub(crate) fn seal_key(sealer: &Sealer, key: Key, state_seq: u64) -> Result<StoredKey, CryptoError> {
    let sealed = sealer.seal(&key_record(&key, &key.metadata(), state_seq), &SecretBytes::new(Vec::new()))?;
    Ok(StoredKey { key, state_seq, sealed })
}

/// Checks a key's row.
pub(crate) fn open_key(sealer: &Sealer, stored: &StoredKey) -> Result<(), KmsError> {
    let metadata = stored.key.metadata();
    sealer
        .open(&key_record(&stored.key, &metadata, stored.state_seq), &stored.sealed)
        .map(drop)
        .map_err(|_| KmsError::Integrity(format!("the row of key {} was changed", stored.key.id)))
}

/// Seals a version's material into its row.
pub(crate) fn seal_version(
    sealer: &Sealer,
    mut version: StoredVersion,
    algorithm: &str,
    material: &SecretBytes,
) -> Result<StoredVersion, CryptoError> {
    let metadata = version_metadata(&version);
    version.sealed = sealer.seal(&version_record(&version, algorithm, &metadata), material)?;
    Ok(version)
}

/// Opens a version's material.
pub(crate) fn open_version(sealer: &Sealer, stored: &StoredVersion, algorithm: &str) -> Result<SecretBytes, KmsError> {
    let metadata = version_metadata(stored);
    sealer
        .open(&version_record(stored, algorithm, &metadata), &stored.sealed)
        .map_err(|_| KmsError::Integrity(format!("the row of key version {} was changed", stored.id)))
}

pub(crate) fn toggle_key(sealer: &Sealer, set: RecordSet, stored: &StoredKey) -> RecordSet {
    sealer.toggle(set, KEYS, stored.key.id.as_bytes(), &stored.sealed)
}

pub(crate) fn toggle_version(sealer: &Sealer, set: RecordSet, stored: &StoredVersion) -> RecordSet {
    sealer.toggle(set, VERSIONS, stored.id.as_bytes(), &stored.sealed)
}
