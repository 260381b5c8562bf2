//! What Identity says of itself and its clients.

use anyhow::{Context, Result, ensure};
use http::header;
use keyrealm_jose::jwk::VerifyingKeys;
use keyrealm_jose::jws::Unverified;
use serde_json::Value;

use super::world::{error_of, text};
use super::{Facts, World};

pub(super) async fn discovery(world: &mut World<'_>) -> Facts {
    let mut documents = Vec::new();
    for name in ["openid-configuration", "oauth-authorization-server"] {
        let url = world.at.issuer.join(&format!("/.well-known/{name}"))?;
        let answer = world.at.client.get(&url).await?;
        ensure!(answer.status == 200, "{name} answered {}", answer.status);
        documents.push(answer.json());
    }
    let issuer = world.at.issuer.as_str().trim_end_matches('/');
    for document in &documents {
        ensure!(text(document, "issuer")? == issuer, "the document names another issuer");
    }
    world.metadata = documents.pop().context("no document")?;
    for endpoint in
        ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"]
    {
        ensure!(world.endpoint(endpoint)?.scheme() == "https", "{endpoint} is not https");
    }
    Ok(vec![format!("issuer {issuer}")])
}

pub(super) async fn jwks(world: &mut World<'_>) -> Facts {
    let url = world.endpoint("jwks_uri")?;
    let answer = world.at.client.get(&url).await?;
    let set = answer.json();
    let keys = set.get("keys").and_then(Value::as_array).context("the key set has no keys")?;
    let mut facts = Vec::new();
    for key in keys {
        for private in ["d", "p", "q", "k"] {
            ensure!(key.get(private).is_none(), "the key set shows the private member {private}");
        }
        facts.push(format!("{} key {}", text(key, "alg")?, text(key, "kid")?));
    }
    let parsed = VerifyingKeys::parse(&answer.body)?;
    ensure!(parsed.len() == keys.len(), "a key of the set cannot be used");
    world.keys = Some(parsed);
    Ok(facts)
}

/// Each confidential client gets a token with its secret and none with another one; the public client is known.
pub(super) async fn clients(world: &mut World<'_>) -> Facts {
    let mut facts = Vec::new();
    for client in world.at.credentials.clients.clone() {
        if client.secret.is_empty() {
            let url = world.endpoint("token_endpoint")?;
            let fields =
                [("client_id", client.client_id.as_str()), ("grant_type", "refresh_token"), ("refresh_token", "none")];
            let answer = world.at.client.post_form(&url, &[], &fields).await?;
            ensure!(
                error_of(&answer).starts_with("invalid_grant"),
                "{} is not known: {}",
                client.client_id,
                error_of(&answer)
            );
            facts.push(format!("{} (public)", client.client_id));
            continue;
        }
        let token = world.client_token(&client.client_id, "").await.with_context(|| client.client_id.clone())?;
        Unverified::parse(&token)?;
        facts.push(client.client_id);
    }
    let url = world.endpoint("token_endpoint")?;
    let wrong =
        [("client_id", "demo-service-client"), ("client_secret", "wrong"), ("grant_type", "client_credentials")];
    let answer = world.at.client.post_form(&url, &[], &wrong).await?;
    ensure!(answer.status == 401, "a wrong secret is answered {}", answer.status);
    Ok(facts)
}

pub(super) async fn userinfo(world: &mut World<'_>) -> Facts {
    let url = world.endpoint("userinfo_endpoint")?;
    let bearer = format!("Bearer {}", world.access);
    let answer =
        world.at.client.send(http::Method::GET, &url, &[(header::AUTHORIZATION, &bearer)], String::new()).await?;
    ensure!(answer.status == 200, "userinfo answered {}", answer.status);
    let claims = answer.json();
    let subject = payload(&world.id_token)?.get("sub").and_then(Value::as_str).map(str::to_owned);
    ensure!(Some(text(&claims, "sub")?) == subject, "userinfo is about another user than the id_token");
    Ok(vec![format!("{} <{}>", text(&claims, "preferred_username")?, text(&claims, "email")?)])
}

/// The payload of a token, for showing.
pub(super) fn payload(token: &str) -> Result<Value> {
    let token = Unverified::parse(token)?;
    Ok(serde_json::from_slice(token.peek_payload())?)
}
