//! Sealed records: format byte, algorithm byte, key id, nonce, ciphertext with tag. The form is persistent: whatever changes
//! it is a new format byte.

use keyrealm_base::Random;
use keyrealm_crypto::aead::{AeadKey, AesGcm, NONCE_LEN, TAG_LEN};
use keyrealm_crypto::{CryptoError, SecretBytes, hkdf_sha256, sha256};
use keyrealm_store::Space;

use crate::aad::Fields;

const FORMAT: u8 = 1;
/// HKDF-SHA-256 for a key of the record's own, then AES-256-GCM.
const ALGORITHM: u8 = 1;
const ID_LEN: usize = 16;
const PREFIX_LEN: usize = 2 + ID_LEN + NONCE_LEN;

/// What a record is, all of it authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The table.
    pub table: &'static str,
    /// The row.
    pub row: &'a [u8],
    /// The version of the object, 0 where there is none.
    pub version: u64,
    /// What the content is for, such as `ES256` or `key-state`.
    pub purpose: &'a str,
    /// The columns beside it that must not be changed or rolled back.
    pub metadata: &'a [u8],
    /// The tenant's state at which it was written.
    pub state_seq: u64,
}

/// The record is not what it was when it was sealed. Nothing more can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed record failed its integrity check")]
pub struct RecordError;

/// Where records live; part of what binds them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home {
    /// The deployment's id; zeros for the root, which is opened before its deployment is compared.
    pub(crate) deployment: [u8; ID_LEN],
    pub(crate) space: Space,
}

/// The fields of the design's section 5, in its order. The tenant is named by its space, which names the product with it and
/// is there for the realm level, too.
fn aad(home: &Home, record: &Record<'_>, key_id: &[u8; ID_LEN]) -> Vec<u8> {
    Fields::default()
        .push(&[FORMAT])
        .push(&home.deployment)
        .push(home.space.to_string().as_bytes())
        .push(record.table.as_bytes())
        .push(record.row)
        .push(&record.version.to_be_bytes())
        .push(&[ALGORITHM])
        .push(record.purpose.as_bytes())
        .push(key_id)
        .push(&sha256(record.metadata))
        .push(&record.state_seq.to_be_bytes())
        .finish()
}

/// A key of the record's own, so that the random nonces of many records under one key never meet
/// (NIST SP 800-38D, section 8.3).
fn record_key(key: &SecretBytes, record: &Record<'_>) -> Result<AeadKey, CryptoError> {
    let info = Fields::default()
        .push(b"keyrealm record v1")
        .push(record.table.as_bytes())
        .push(record.row)
        .push(&record.version.to_be_bytes())
        .finish();
    AeadKey::new(AesGcm::A256, &hkdf_sha256(key, &[], &[&info], 32)?)
}

/// Seals.
pub(crate) fn seal(
    home: &Home,
    (key_id, key): (&[u8; ID_LEN], &SecretBytes),
    record: &Record<'_>,
    plaintext: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>, CryptoError> {
    let nonce: [u8; NONCE_LEN] = random.bytes();
    let sealed = record_key(key, record)?.seal(nonce, &aad(home, record, key_id), plaintext)?;
    let mut out = Vec::with_capacity(PREFIX_LEN + sealed.len());
    out.extend_from_slice(&[FORMAT, ALGORITHM]);
    out.extend_from_slice(key_id);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// The id of the key that a record was sealed with.
pub(crate) fn key_id(sealed: &[u8]) -> Result<&[u8], RecordError> {
    sealed.get(2..2 + ID_LEN).ok_or(RecordError)
}

/// Opens.
pub(crate) fn open(
    home: &Home,
    (key_id, key): (&[u8; ID_LEN], &SecretBytes),
    record: &Record<'_>,
    sealed: &[u8],
) -> Result<SecretBytes, RecordError> {
    if sealed.len() < PREFIX_LEN + TAG_LEN {
        return Err(RecordError);
    }
    let (prefix, content) = sealed.split_at_checked(PREFIX_LEN).ok_or(RecordError)?;
    let (kind, rest) = prefix.split_at_checked(2).ok_or(RecordError)?;
    let (id, nonce) = rest.split_at_checked(ID_LEN).ok_or(RecordError)?;
    if kind != [FORMAT, ALGORITHM] || id != key_id {
        return Err(RecordError);
    }
    let nonce = nonce.try_into().map_err(|_| RecordError)?;
    record_key(key, record)
        .and_then(|key| key.open(nonce, &aad(home, record, key_id), content))
        .map_err(|_| RecordError)
}

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;
    use keyrealm_store::Product;
    use proptest::prelude::*;

    use super::*;

    fn setup() -> (Home, [u8; ID_LEN], SecretBytes) {
        let home = Home { deployment: (&SystemRandom as &dyn Random).bytes(), space: Space::Realm(Product::Kms) };
        (home, (&SystemRandom as &dyn Random).bytes(), SecretBytes::random(32, &SystemRandom))
    }

    const RECORD: Record<'_> =
        Record { table: "t", row: b"row", version: 1, purpose: "p", metadata: b"m", state_seq: 7 };

    #[test]
    fn every_bit_counts_and_no_length_panics() {
        let (home, id, key) = setup();
        let sealed = seal(&home, (&id, &key), &RECORD, b"content", &SystemRandom).unwrap();
        assert_eq!(open(&home, (&id, &key), &RECORD, &sealed).ok().unwrap().expose(), b"content");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&home, (&id, &key), &RECORD, &bad).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open(&home, (&id, &key), &RECORD, &sealed[..length]).is_err());
        }
    }

    /// What is authenticated, byte for byte: it is persistent.
    #[test]
    fn the_authenticated_fields_are_those_of_the_design() {
        let home = Home { deployment: [0xdd; ID_LEN], space: Space::Realm(Product::Kms) };
        let mut expected = Vec::new();
        for field in [
            &[1][..],             // format
            &[0xdd; 16],          // deployment_id
            b"kms_realm",         // tenant
            b"t",                 // table
            b"row",               // row id
            &1_u64.to_be_bytes(), // version
            &[1],                 // algorithm
            b"p",                 // purpose
            &[0xee; 16],          // key id
            &sha256(b"m"),        // SHA-256 of the metadata
            &7_u64.to_be_bytes(), // state_seq
        ] {
            expected.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
            expected.extend_from_slice(field);
        }
        assert_eq!(aad(&home, &RECORD, &[0xee; ID_LEN]), expected);
    }

    /// A record does not open as any other record, in any other place (BAR-01, BAR-02).
    #[test]
    fn every_field_binds() {
        let (home, id, key) = setup();
        let sealed = seal(&home, (&id, &key), &RECORD, b"content", &SystemRandom).unwrap();
        for other in [
            Record { table: "u", ..RECORD },
            Record { row: b"other", ..RECORD },
            Record { version: 2, ..RECORD },
            Record { purpose: "q", ..RECORD },
            Record { metadata: b"n", ..RECORD },
            Record { state_seq: 8, ..RECORD },
        ] {
            assert!(open(&home, (&id, &key), &other, &sealed).is_err(), "{other:?}");
        }
        let elsewhere = Home { space: Space::Realm(Product::Identity), ..home };
        let (another, other_id, _) = setup();
        for home in [elsewhere, another] {
            assert!(open(&home, (&id, &key), &RECORD, &sealed).is_err());
        }
        assert!(open(&home, (&other_id, &key), &RECORD, &sealed).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_open(bytes: Vec<u8>) {
            let (home, id, key) = setup();
            prop_assert!(open(&home, (&id, &key), &RECORD, &bytes).is_err());
        }
    }
}
