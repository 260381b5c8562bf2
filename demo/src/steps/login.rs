//! The log-in: pages, code, PKCE, tokens.

use anyhow::{Context, Result, bail, ensure};
use keyrealm_base::{Clock, Random, SystemClock};
use keyrealm_crypto::{SystemRandom, sha256};
use keyrealm_jose::b64;
use keyrealm_jose::jws::Unverified;
use keyrealm_jose::jwt::{Expected, validate};
use serde_json::Value;
use url::Url;

use super::identity::payload;
use super::world::{CLIENT, CLIENT_2, error_of, text};
use super::{Facts, World};
use crate::browser::{Browser, form, title};

const SCOPE: &str = "openid profile email kms:read kms:write";

fn secret() -> String {
    let random: &dyn Random = &SystemRandom;
    b64::encode(random.bytes::<32>())
}

/// An authorization request's URL.
pub(super) fn authorize(
    world: &World<'_>,
    client_id: &str,
    scope: &str,
    verifier: &str,
    state: &str,
    nonce: &str,
    prompt: &str,
) -> Result<Url> {
    let mut url = world.endpoint("authorization_endpoint")?;
    let challenge = b64::encode(sha256(verifier.as_bytes()));
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", identity::seed::REDIRECT_URI)
        .append_pair("scope", scope)
        .append_pair("state", state)
        .append_pair("nonce", nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if !prompt.is_empty() {
        url.query_pairs_mut().append_pair("prompt", prompt);
    }
    Ok(url)
}

/// What the browser brought back.
struct Walked {
    query: Vec<(String, String)>,
    /// Whether the user was asked for consent; whoever gave it before is not.
    consented: bool,
}

/// Walks through the pages until the browser is sent back to the client.
async fn walk(world: &World<'_>, browser: &mut Browser, begin: Url, user: &str) -> Result<Walked> {
    let answer = browser.get(&begin).await?;
    let mut at = Browser::location(&begin, &answer)?;
    let mut consented = false;
    for _ in 0..6 {
        if at.as_str().starts_with(identity::seed::REDIRECT_URI) {
            return Ok(Walked { query: at.query_pairs().into_owned().collect(), consented });
        }
        let page = browser.get(&at).await?;
        ensure!(page.status == 200, "{} answered {}: {}", at.path(), page.status, title(&page.text()));
        let policy = page.header(&http::header::CONTENT_SECURITY_POLICY).to_owned();
        ensure!(policy.starts_with("default-src 'none'"), "the page's policy is {policy}");
        let mut shown = form(&page.text())?;
        if shown.fields.contains_key("password") {
            shown.fields.insert("username".to_owned(), user.to_owned());
            shown.fields.insert("password".to_owned(), world.at.credentials.password(user).to_owned());
        } else {
            shown.fields.insert("action".to_owned(), "approve".to_owned());
            consented = true;
        }
        let answer = browser.submit(&at, &shown).await?;
        at = Browser::location(&at, &answer)?;
    }
    bail!("the pages lead in a circle")
}

fn parameter(query: &[(String, String)], name: &str) -> Result<String> {
    let found = query.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    found.with_context(|| format!("the redirect has no `{name}`: {query:?}"))
}

/// Checks state and issuer (RFC 9207) and takes the code.
fn take_code(world: &World<'_>, query: &[(String, String)], state: &str) -> Result<String> {
    ensure!(parameter(query, "state")? == state, "the state came back changed");
    ensure!(parameter(query, "iss")? == world.at.issuer.as_str().trim_end_matches('/'), "another issuer answered");
    parameter(query, "code")
}

pub(super) async fn log_in(world: &mut World<'_>) -> Facts {
    let (state, nonce, verifier) = (secret(), secret(), secret());
    let url = authorize(world, CLIENT, SCOPE, &verifier, &state, &nonce, "")?;
    let mut browser = Browser::new(world.at.client.clone());
    // A wrong password first: the page comes again, and says not what was wrong.
    let first = browser.get(&url).await?;
    let page_at = Browser::location(&url, &first)?;
    let page = browser.get(&page_at).await?;
    let mut wrong = form(&page.text())?;
    wrong.fields.insert("username".to_owned(), "demo-admin".to_owned());
    wrong.fields.insert("password".to_owned(), "wrong".to_owned());
    let refused = browser.submit(&page_at, &wrong).await?;
    ensure!(refused.status == 401, "a wrong password is answered {}", refused.status);
    let walked = walk(world, &mut browser, url, "demo-admin").await?;
    world.code = take_code(world, &walked.query, &state)?;
    (world.nonce, world.verifier, world.browser) = (nonce, verifier, browser);
    Ok(vec![
        format!(
            "a wrong password is refused, the right one {}",
            if walked.consented { "leads to consent" } else { "is enough: consent was given before" }
        ),
        "state and iss came back as sent".to_owned(),
    ])
}

/// Tokens for a code.
async fn redeem(
    world: &mut World<'_>,
    client_id: &str,
    code: &str,
    verifier: &str,
) -> Result<keyrealm_http::client::Answer> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", identity::seed::REDIRECT_URI),
        ("code_verifier", verifier),
    ];
    world.oauth("token_endpoint", client_id, &fields).await
}

/// Logs a user in and returns the access token.
pub(super) async fn user_token(world: &mut World<'_>, client_id: &str, user: &str, scope: &str) -> Result<String> {
    let (state, nonce, verifier) = (secret(), secret(), secret());
    let url = authorize(world, client_id, scope, &verifier, &state, &nonce, "")?;
    let mut browser = Browser::new(world.at.client.clone());
    let walked = walk(world, &mut browser, url, user).await?;
    let code = take_code(world, &walked.query, &state)?;
    let answer = redeem(world, client_id, &code, &verifier).await?;
    ensure!(answer.status == 200, "the token endpoint answered {}: {}", answer.status, error_of(&answer));
    text(&answer.json(), "access_token")
}

pub(super) async fn users(world: &mut World<'_>) -> Facts {
    let mut facts = Vec::new();
    for user in world.at.credentials.users.clone() {
        let client = if user.tenant == "demo-1" { CLIENT } else { CLIENT_2 };
        let token = user_token(world, client, &user.username, "openid").await.with_context(|| user.username.clone())?;
        ensure!(payload(&token)?.get("tenant_id").is_some(), "the token names no tenant");
        facts.push(format!("{} of {}", user.username, user.tenant));
    }
    Ok(facts)
}

pub(super) async fn exchange(world: &mut World<'_>) -> Facts {
    ensure!(!world.code.is_empty(), "there is no code: the log-in failed");
    let (code, verifier) = (world.code.clone(), world.verifier.clone());
    let answer = redeem(world, CLIENT, &code, &verifier).await?;
    ensure!(answer.status == 200, "the token endpoint answered {}: {}", answer.status, error_of(&answer));
    ensure!(answer.header(&http::header::CACHE_CONTROL) == "no-store", "tokens may be stored by caches");
    let body = answer.json();
    world.access = text(&body, "access_token")?;
    world.refresh = text(&body, "refresh_token")?;
    world.id_token = text(&body, "id_token")?;
    let keys = world.keys.as_ref().context("there is no key set")?;
    let expected = Expected {
        typ: "JWT",
        algorithms: &["RS256"],
        issuer: world.at.issuer.as_str().trim_end_matches('/'),
        audience: CLIENT,
        now: SystemClock.now(),
    };
    let claims = validate(Unverified::parse(&world.id_token)?, keys, &expected)?;
    ensure!(claims.text("nonce") == Some(world.nonce.as_str()), "the id_token has another nonce");
    let hash = b64::encode(sha256(world.access.as_bytes()).get(..16).unwrap_or_default());
    ensure!(claims.text("at_hash") == Some(hash.as_str()), "the id_token belongs to another access token");
    Ok(vec!["id_token: RS256, issuer, audience, nonce and at_hash checked".to_owned()])
}

pub(super) async fn claims(world: &mut World<'_>) -> Facts {
    let keys = world.keys.as_ref().context("there is no key set")?;
    let expected = Expected {
        typ: "at+jwt",
        algorithms: &["ES256"],
        issuer: world.at.issuer.as_str().trim_end_matches('/'),
        audience: world.at.kms.as_str().trim_end_matches('/'),
        now: SystemClock.now(),
    };
    let claims = validate(Unverified::parse(&world.access)?, keys, &expected)?;
    let mut facts = Vec::new();
    for (name, meaning) in [
        ("iss", "who issued it"),
        ("aud", "who may take it: the KMS"),
        ("sub", "the user"),
        ("client_id", "the application"),
        ("tenant_id", "the tenant, for every decision of the KMS"),
        ("scope", "what it allows"),
        ("exp", "when it ends"),
        ("jti", "its own id, for revoking it"),
        ("sid", "the log-in session"),
        ("family", "the refresh tokens that it came from"),
    ] {
        let value = claims.all().get(name).with_context(|| format!("the claim {name} is missing"))?;
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        facts.push(format!("{name:<9} {shown}  ({meaning})"));
    }
    Ok(facts)
}

pub(super) async fn replay_code(world: &mut World<'_>) -> Facts {
    let (code, verifier) = (world.code.clone(), world.verifier.clone());
    let answer = redeem(world, CLIENT, &code, &verifier).await?;
    let error = answer.json().get("error").and_then(Value::as_str).map(str::to_owned);
    ensure!(
        answer.status == 400 && error.as_deref() == Some("invalid_grant"),
        "the second use is answered {}",
        answer.status
    );
    Ok(vec!["the second use is answered invalid_grant".to_owned()])
}
