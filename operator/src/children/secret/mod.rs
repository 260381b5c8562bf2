//! Secrets. Those that cannot be made again outlive the Realm: they have no owner reference, and nobody overwrites them.

pub mod admin;
pub mod leaf;
pub mod role;
pub mod root_ca;
pub mod unseal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrealm_base::Random;
use keyrealm_crypto::SecretBytes;
use serde_json::{Map, Value, json};

/// A Secret's body. Data and not `stringData`, which server-side apply does not own.
fn opaque(entries: &[(&str, &[u8])]) -> Value {
    body("Opaque", entries)
}

fn body(kind: &str, entries: &[(&str, &[u8])]) -> Value {
    let data: Map<String, Value> =
        entries.iter().map(|(key, value)| ((*key).to_owned(), Value::String(STANDARD.encode(value)))).collect();
    json!({"type": kind, "data": data})
}

/// A password of 192 random bits, letters, digits, `-` and `_`.
#[must_use]
pub fn password(random: &dyn Random) -> SecretBytes {
    let bytes = SecretBytes::random(24, random);
    SecretBytes::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes.expose()).into_bytes())
}
