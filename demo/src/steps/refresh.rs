//! The end of tokens: rotation, replay, revocation, log-out.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::Value;

use super::login::authorize;
use super::world::{CLIENT, error_of, problem, text};
use super::{Facts, World};
use crate::browser::Browser;

/// By when a revocation must have reached the KMS.
const REACHED: Duration = Duration::from_secs(2);

async fn refresh(world: &mut World<'_>, token: &str) -> Result<keyrealm_http::client::Answer> {
    world.oauth("token_endpoint", CLIENT, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

pub(super) async fn rotate(world: &mut World<'_>) -> Facts {
    let old = world.refresh.clone();
    let answer = refresh(world, &old).await?;
    ensure!(answer.status == 200, "the token endpoint answered {}: {}", answer.status, error_of(&answer));
    let new = text(&answer.json(), "refresh_token")?;
    ensure!(new != old, "the same refresh token came back");
    // The successor is used, too: from here on the first one is nobody's lost answer.
    let answer = refresh(world, &new).await?;
    ensure!(answer.status == 200, "the new refresh token is answered {}: {}", answer.status, error_of(&answer));
    let body = answer.json();
    world.access = text(&body, "access_token")?;
    let token = world.access.clone();
    let used = world.kms(&token, Method::GET, "/api/v1/keys", None).await?;
    ensure!(used.status == 200, "the new access token is answered {}", used.status);
    // The old one stays for the next step.
    world.newest_refresh = text(&body, "refresh_token")?;
    Ok(vec!["two rotations; the newest access token works".to_owned()])
}

/// Polls the KMS until it refuses the token.
async fn refused_by_kms(world: &mut World<'_>, token: &str) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let answer = world.kms(token, Method::GET, "/api/v1/keys", None).await?;
        if answer.status == 401 {
            ensure!(problem(&answer) == "invalid-token", "the refusal is {}", problem(&answer));
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < REACHED, "the KMS still takes the token after {} s", REACHED.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn replay(world: &mut World<'_>) -> Facts {
    let (old, newest, access) = (world.refresh.clone(), world.newest_refresh.clone(), world.access.clone());
    for (what, token) in [("the replayed token", &old), ("the newest token of the family", &newest)] {
        let answer = refresh(world, token).await?;
        let error = answer.json().get("error").and_then(Value::as_str).map(str::to_owned);
        ensure!(error.as_deref() == Some("invalid_grant"), "{what} is answered {}", answer.status);
    }
    let took = refused_by_kms(world, &access).await?;
    Ok(vec![
        "the replayed token and the newest one: invalid_grant".to_owned(),
        format!("the family's access token: refused by the KMS after {} ms", took.as_millis()),
    ])
}

async fn is_active(world: &mut World<'_>, token: &str) -> Result<bool> {
    let answer = world.oauth("introspection_endpoint", CLIENT, &[("token", token)]).await?;
    ensure!(answer.status == 200, "introspection answered {}: {}", answer.status, error_of(&answer));
    answer.json().get("active").and_then(Value::as_bool).context("introspection does not say whether it is active")
}

pub(super) async fn revoke(world: &mut World<'_>) -> Facts {
    let token = world.client_token(CLIENT, "").await?;
    ensure!(is_active(world, &token).await?, "introspection does not know a fresh token");
    let used = world.kms(&token, Method::GET, "/api/v1/keys", None).await?;
    ensure!(used.status == 200, "the KMS answers a fresh token {}", used.status);
    let answer = world.oauth("revocation_endpoint", CLIENT, &[("token", &token)]).await?;
    ensure!(answer.status == 200, "revocation answered {}", answer.status);
    ensure!(!is_active(world, &token).await?, "introspection still calls it active");
    let took = refused_by_kms(world, &token).await?;
    Ok(vec![format!("introspection: inactive; the KMS: refused after {} ms", took.as_millis())])
}

pub(super) async fn log_out(world: &mut World<'_>) -> Facts {
    // The session still stands, so this needs no form.
    let begin = authorize(world, CLIENT, "openid kms:read", "v".repeat(43).as_str(), "s", "n", "none")?;
    let answer = world.browser.get(&begin).await?;
    let at = Browser::location(&begin, &answer)?;
    let code = at.query_pairs().find(|(name, _)| name == "code").map(|(_, value)| value.into_owned());
    let code = code.with_context(|| format!("the session is not known: {:?}", at.query()))?;
    let verifier = "v".repeat(43);
    let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", verifier.as_str())];
    let tokens = world.oauth("token_endpoint", CLIENT, &fields).await?.json();
    let access = text(&tokens, "access_token")?;

    let mut end = world.endpoint("end_session_endpoint")?;
    end.query_pairs_mut()
        .append_pair("id_token_hint", &world.id_token)
        .append_pair("post_logout_redirect_uri", identity::seed::LOGGED_OUT_URI)
        .append_pair("state", "bye");
    let answer = world.browser.get(&end).await?;
    let gone = Browser::location(&end, &answer)?;
    ensure!(gone.as_str() == format!("{}?state=bye", identity::seed::LOGGED_OUT_URI), "the browser is sent to {gone}");
    let answer = world.browser.get(&begin).await?;
    let at = Browser::location(&begin, &answer)?;
    ensure!(
        at.query_pairs().any(|(name, value)| name == "error" && value == "login_required"),
        "the session goes on: {at}"
    );
    refused_by_kms(world, &access).await?;
    Ok(vec!["prompt=none now answers login_required; the session's token is refused".to_owned()])
}
