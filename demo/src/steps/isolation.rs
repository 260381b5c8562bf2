//! Refusals: what a caller may not do, and what another tenant must not see.

use anyhow::{Context, ensure};
use http::{Method, header};
use keyrealm_base::{KeyId, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::Answer;
use serde_json::{Value, json};

use super::login::user_token;
use super::world::{CLIENT_2, problem};
use super::{Facts, World};

pub(super) async fn missing_scope(world: &mut World<'_>) -> Facts {
    let token = world.client_token("demo-service-client", "kms:verify").await?;
    let path = format!("/api/v1/keys/{}/encrypt", world.encryption_key);
    let answer = world.kms(&token, Method::POST, &path, Some(json!({"plaintext": ""}))).await?;
    ensure!(answer.status == 403 && problem(&answer) == "insufficient-scope", "it is answered {}", answer.status);
    let challenge = answer.header(&header::WWW_AUTHENTICATE).to_owned();
    ensure!(
        challenge.contains("insufficient_scope") && challenge.contains("kms:encrypt"),
        "the challenge is {challenge}"
    );
    Ok(vec![challenge])
}

pub(super) async fn no_token(world: &mut World<'_>) -> Facts {
    let answer = world.kms("", Method::GET, "/api/v1/keys", None).await?;
    ensure!(answer.status == 401 && problem(&answer) == "unauthenticated", "it is answered {}", answer.status);
    let challenge = answer.header(&header::WWW_AUTHENTICATE).to_owned();
    ensure!(challenge == "Bearer", "the challenge is {challenge}");
    let rubbish = world.kms("rubbish", Method::GET, "/api/v1/keys", None).await?;
    ensure!(problem(&rubbish) == "invalid-token", "a token that is none is answered {}", rubbish.status);
    Ok(vec!["without a token: Bearer; with one that is none: invalid-token".to_owned()])
}

pub(super) async fn other_tenant(world: &mut World<'_>) -> Facts {
    ensure!(!world.encryption_key.is_empty(), "there is no key: making it failed");
    let token = user_token(world, CLIENT_2, "demo-user-2", "openid kms:read kms:write")
        .await
        .context("the other tenant's log-in")?;
    let unknown = KeyId::new(&SystemClock, &SystemRandom).to_string();
    let mut seen = Vec::new();
    for id in [world.encryption_key.clone(), unknown] {
        let answer = world.kms(&token, Method::GET, &format!("/api/v1/keys/{id}"), None).await?;
        ensure!(answer.status == 404, "the key is answered {}", answer.status);
        seen.push(without_occurrence(&answer));
    }
    ensure!(seen.first() == seen.last(), "the two answers differ: {seen:?}");
    let list = world.kms(&token, Method::GET, "/api/v1/keys?size=50", None).await?;
    ensure!(list.status == 200 && !list.text().contains(&world.encryption_key), "the list shows the key");
    Ok(vec!["404, word by word as for an id that does not exist".to_owned()])
}

/// The answer without what differs from one request to the next.
fn without_occurrence(answer: &Answer) -> Value {
    let mut body = answer.json();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
        body.remove("instance");
    }
    body
}
