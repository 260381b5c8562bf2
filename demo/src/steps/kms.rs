//! Keys and what they do.

use anyhow::{Context, ensure};
use http::Method;
use keyrealm_base::{Random, SystemClock, new_uuid_v7};
use keyrealm_crypto::SystemRandom;
use keyrealm_jose::b64;
use keyrealm_jose::jwk::VerifyingKeys;
use keyrealm_jose::jws::Unverified;
use serde_json::{Value, json};

use super::world::{CLIENT, CLIENT_2, CONTEXT, PLAINTEXT, error_of, problem, text};
use super::{Facts, World};

pub(super) async fn entities(world: &mut World<'_>) -> Facts {
    let mut facts = Vec::new();
    // Each tenant's web application may read the keys of its own tenant.
    for (tenant, client) in [("demo-1", CLIENT), ("demo-2", CLIENT_2)] {
        let token = world.client_token(client, "kms:read").await?;
        for name in kms::seed::key_names() {
            let answer = world.kms(&token, Method::GET, &format!("/api/v1/keys?name[]={name}"), None).await?;
            ensure!(answer.status == 200, "listing keys of {tenant} answered {}: {}", answer.status, error_of(&answer));
            let list = answer.json();
            let key = list.get("items").and_then(|items| items.get(0));
            let key = key.with_context(|| format!("the key {name} of {tenant} is missing"))?;
            let (algorithm, state) = (text(key, "algorithm")?, text(key, "state")?);
            ensure!(state == "active", "the key {name} of {tenant} is {state}");
            facts.push(format!("{tenant}: {name} ({algorithm}, {state})"));
        }
    }
    Ok(facts)
}

pub(super) async fn create(world: &mut World<'_>) -> Facts {
    let token = world.access.clone();
    let random: &dyn Random = &SystemRandom;
    // A name of its own for each run, since a data folder may be used again.
    let run = new_uuid_v7(&SystemClock, random);
    let mut made = Vec::new();
    for (what, algorithm) in [("encryption", "A256GCM/A256KW"), ("signing", "ES256")] {
        let body =
            json!({"name": format!("demo-{what}-{run}"), "algorithm": algorithm, "description": "made by the demo"});
        let answer = world.kms(&token, Method::POST, "/api/v1/keys", Some(body)).await?;
        ensure!(answer.status == 201, "making a key answered {}: {}", answer.status, error_of(&answer));
        made.push(text(&answer.json(), "key_id")?);
    }
    world.signing_key = made.pop().context("no key")?;
    world.encryption_key = made.pop().context("no key")?;
    Ok(vec![format!("A256GCM/A256KW {}", world.encryption_key), format!("ES256          {}", world.signing_key)])
}

pub(super) async fn encrypt(world: &mut World<'_>) -> Facts {
    let key = world.encryption_key.clone();
    let answer =
        world.operate(&key, "encrypt", json!({"plaintext": b64::encode(PLAINTEXT), "context": CONTEXT})).await?;
    world.ciphertext = text(&answer, "ciphertext")?;
    ensure!(world.ciphertext.split('.').count() == 5, "the ciphertext is no compact JWE");
    ensure!(!world.ciphertext.contains(&b64::encode(PLAINTEXT)), "the ciphertext shows the plaintext");
    Ok(vec![format!(
        "a compact JWE of {} characters, version {}",
        world.ciphertext.len(),
        answer.get("version").unwrap_or(&Value::Null)
    )])
}

pub(super) async fn decrypt(world: &mut World<'_>) -> Facts {
    let (key, ciphertext) = (world.encryption_key.clone(), world.ciphertext.clone());
    let answer = world.operate(&key, "decrypt", json!({"ciphertext": ciphertext, "context": CONTEXT})).await?;
    ensure!(text(&answer, "plaintext")? == b64::encode(PLAINTEXT), "another text came back");
    Ok(vec![format!("\"{PLAINTEXT}\"")])
}

pub(super) async fn wrong_context(world: &mut World<'_>) -> Facts {
    let (token, path) = (world.access.clone(), format!("/api/v1/keys/{}/decrypt", world.encryption_key));
    let body = json!({"ciphertext": world.ciphertext, "context": "order=4712"});
    let answer = world.kms(&token, Method::POST, &path, Some(body)).await?;
    ensure!(answer.status == 400 && problem(&answer) == "decryption-failed", "it is answered {}", answer.status);
    Ok(vec!["answered decryption-failed, as a changed ciphertext would be".to_owned()])
}

pub(super) async fn sign(world: &mut World<'_>) -> Facts {
    let key = world.signing_key.clone();
    let answer = world.operate(&key, "sign", json!({"payload": b64::encode(PLAINTEXT)})).await?;
    world.signature = text(&answer, "signature")?;
    let token = world.access.clone();
    let set = world.kms(&token, Method::GET, "/api/v1/jwks", None).await?;
    let keys = VerifyingKeys::parse(&set.body)?;
    let signed = Unverified::parse(&world.signature)?;
    let kid = signed.header("kid").context("the signature names no key")?.to_owned();
    let verified = signed.verify("ES256", keys.get(&kid, "ES256")?)?;
    ensure!(verified.payload == PLAINTEXT.as_bytes(), "another text was signed");
    Ok(vec![format!("verified here with the public key {kid}")])
}

pub(super) async fn verify(world: &mut World<'_>) -> Facts {
    let (key, signature) = (world.signing_key.clone(), world.signature.clone());
    let answer = world.operate(&key, "verify", json!({"signature": signature})).await?;
    ensure!(answer.get("valid") == Some(&Value::Bool(true)), "the KMS does not verify its own signature");
    let (input, _) = signature.rsplit_once('.').context("no signature")?;
    let changed = format!("{input}.{}", b64::encode([1; 64]));
    let (token, path) = (world.access.clone(), format!("/api/v1/keys/{key}/verify"));
    let refused = world.kms(&token, Method::POST, &path, Some(json!({"signature": changed}))).await?;
    ensure!(problem(&refused) == "signature-invalid", "a changed signature is answered {}", refused.status);
    Ok(vec!["valid; with another signature: signature-invalid".to_owned()])
}

pub(super) async fn rotate(world: &mut World<'_>) -> Facts {
    let key = world.encryption_key.clone();
    let old = world.operate(&key, "decrypt", json!({"ciphertext": world.ciphertext, "context": CONTEXT})).await?;
    let rotated = world.operate(&key, "rotate", json!({})).await?;
    let new = world.operate(&key, "encrypt", json!({"plaintext": b64::encode(PLAINTEXT)})).await?;
    ensure!(text(&old, "version_id")? != text(&new, "version_id")?, "the old version still encrypts");
    let again = world.operate(&key, "decrypt", json!({"ciphertext": world.ciphertext, "context": CONTEXT})).await?;
    ensure!(text(&again, "plaintext")? == b64::encode(PLAINTEXT), "the old ciphertext opens to another text");
    let version = rotated.get("latest_version").unwrap_or(&Value::Null).clone();
    Ok(vec![format!("version {version} encrypts now; version 1 still opens what it encrypted")])
}
