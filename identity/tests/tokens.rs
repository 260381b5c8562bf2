//! The token endpoint, introspection, revocation: single use, races, replays, and who may ask.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header;
use keyrealm_jose::jwk::VerifyingKeys;
use keyrealm_jose::jws::Unverified;
use keyrealm_store::{Product, Sql, StatementHook, TenantAccess};
use keyrealm_testkit::{On, on_each_database};
use serde_json::Value;
use support::{Realm, VERIFIER, WEB, error};

fn payload(token: &str) -> Value {
    serde_json::from_slice(Unverified::parse(token).unwrap().peek_payload()).unwrap()
}

async fn tokens_say_what_the_standards_ask_for(on: On) {
    let realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    let keys = realm.client.get(&realm.url("/oauth2/v1/jwks")).await.unwrap();
    let keys = VerifyingKeys::parse(&keys.body).unwrap();
    let verify = |name: &str, alg: &str, typ: &str| {
        let text = tokens[name].as_str().unwrap();
        let token = Unverified::parse(text).unwrap();
        assert_eq!(token.header("typ"), Some(typ));
        let kid = token.header("kid").unwrap().to_owned();
        token.verify(alg, keys.get(&kid, alg).unwrap()).unwrap();
        payload(text)
    };
    let access = verify("access_token", "ES256", "at+jwt");
    let id = verify("id_token", "RS256", "JWT");
    let issuer = realm.issuer.as_str().trim_end_matches('/');
    assert_eq!((access["iss"].as_str(), id["iss"].as_str()), (Some(issuer), Some(issuer)));
    assert_eq!((id["aud"].as_str(), id["nonce"].as_str()), (Some(WEB), Some("the nonce")));
    assert_eq!(access["tenant_id"], realm.tenants[0].to_string());
    assert_eq!(access["nbf"].as_i64().unwrap(), access["iat"].as_i64().unwrap() - 10);
    assert_eq!(access["exp"].as_i64().unwrap(), access["iat"].as_i64().unwrap() + 900);
    assert!(
        id["at_hash"].is_string() && id["auth_time"].is_i64() && id["name"].is_null(),
        "profile claims are at userinfo"
    );
    assert_eq!(access["sub"], id["sub"]);
}

async fn the_metadata_is_whole_and_every_address_in_it_answers(on: On) {
    let realm = Realm::start(on).await;
    let metadata = realm.client.get(&realm.url("/.well-known/openid-configuration")).await.unwrap();
    assert_eq!(metadata.header(&header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    let metadata = metadata.json();
    let other = realm.client.get(&realm.url("/.well-known/oauth-authorization-server")).await.unwrap().json();
    assert_eq!(metadata, other);
    assert_eq!(metadata["issuer"], realm.issuer.as_str().trim_end_matches('/'));
    assert!(metadata["id_token_signing_alg_values_supported"].as_array().unwrap().contains(&"RS256".into()));
    for (name, value) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let answer = realm.client.get(&value.as_str().unwrap().parse().unwrap()).await.unwrap();
            assert_ne!(answer.status, 404, "{name}");
        }
    }
    let first = realm.client.get(&realm.url("/oauth2/v1/jwks")).await.unwrap();
    let tag = first.header(&header::ETAG).to_owned();
    let again = [(header::IF_NONE_MATCH, tag.as_str())];
    let again =
        realm.client.send(http::Method::GET, &realm.url("/.well-known/jwks.json"), &again, "".into()).await.unwrap();
    assert_eq!(again.status, 304);
    assert!(!first.text().contains("\"d\""));
}

/// A hundred at once: one wins, nobody sees a server error, and the winner's tokens live.
async fn a_code_used_a_hundred_times_at_once_gives_tokens_once(on: On) {
    let realm = Arc::new(Realm::start(on).await);
    let code = realm.browser().code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (realm, code) = (Arc::clone(&realm), code.clone());
        set.spawn(async move { realm.redeem(&code).await });
    }
    let answers = set.join_all().await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().filter(|answer| answer.status != 200).all(|answer| error(answer) == "invalid_grant"));
    let access = won[0].json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(realm.userinfo(&access).await.status, 200, "a race revokes nothing");
    realm.clock.advance(Duration::from_secs(3));
    assert_eq!(error(&realm.redeem(&code).await), "invalid_grant");
    assert_eq!(realm.userinfo(&access).await.status, 401, "a later use is a theft: the first one's tokens end");
}

async fn a_refresh_token_used_a_hundred_times_at_once_is_exchanged_once(on: On) {
    let realm = Arc::new(Realm::start(on).await);
    let refresh = realm.tokens().await["refresh_token"].as_str().unwrap().to_owned();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (realm, refresh) = (Arc::clone(&realm), refresh.clone());
        set.spawn(async move { realm.refresh(&refresh).await });
    }
    let answers = set.join_all().await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().all(|answer| answer.status == 200 || error(answer) == "invalid_grant"));
    let next = won[0].json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(realm.refresh(&next).await.status, 200, "the winner's token goes on");
}

async fn replays_end_the_family_and_lost_answers_do_not(on: On) {
    let realm = Realm::start(on).await;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    // Lost answer: the successor was never used.
    let first = text(&realm.tokens().await, "refresh_token");
    let answer = realm.refresh(&first).await.json();
    let (lost, lost_access) = (text(&answer, "refresh_token"), text(&answer, "access_token"));
    assert_eq!(error(&realm.refresh(&first).await), "invalid_grant", "at once it is a race");
    realm.clock.advance(Duration::from_secs(5));
    let second = realm.refresh(&first).await;
    assert_eq!(second.status, 200, "{}", second.text());
    assert!(!realm.is_active(&lost).await, "the answer that was lost is given up");
    assert_eq!(realm.userinfo(&lost_access).await.status, 401, "with its access token");
    let tokens = realm.refresh(&text(&second.json(), "refresh_token")).await.json();
    // Replay: the successor was used.
    assert_eq!(realm.userinfo(&text(&tokens, "access_token")).await.status, 200);
    assert_eq!(error(&realm.refresh(&first).await), "invalid_grant");
    assert_eq!(error(&realm.refresh(&text(&tokens, "refresh_token")).await), "invalid_grant");
    assert_eq!(realm.userinfo(&text(&tokens, "access_token")).await.status, 401);
    assert!(!realm.is_active(&text(&tokens, "refresh_token")).await);
    // Another family of the same user goes on.
    let other = text(&realm.tokens().await, "refresh_token");
    assert_eq!(realm.refresh(&other).await.status, 200);
    // Too late for a lost answer.
    let late = text(&realm.tokens().await, "refresh_token");
    realm.refresh(&late).await;
    realm.clock.advance(Duration::from_secs(31));
    assert_eq!(error(&realm.refresh(&late).await), "invalid_grant");
}

/// A thief takes the answer of a rotation, and its owner asks again: the owner gets on as after a lost answer. When the
/// thief uses what was taken, it is seen.
async fn an_answer_that_was_not_lost_but_stolen_ends_the_family(on: On) {
    let realm = Realm::start(on).await;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let first = text(&realm.tokens().await, "refresh_token");
    let stolen = text(&realm.refresh(&first).await.json(), "refresh_token");
    realm.clock.advance(Duration::from_secs(5));
    let owner = realm.refresh(&first).await.json();
    assert_eq!(realm.userinfo(&text(&owner, "access_token")).await.status, 200);
    assert_eq!(error(&realm.refresh(&stolen).await), "invalid_grant");
    assert_eq!(realm.userinfo(&text(&owner, "access_token")).await.status, 401, "the family has ended");
    assert_eq!(error(&realm.refresh(&text(&owner, "refresh_token")).await), "invalid_grant");
}

/// A token that has expired is nobody's lost answer.
async fn an_expired_token_has_no_lost_answer(on: On) {
    let realm = Realm::start_changed(on, None, |config| config.tokens.refresh_seconds = 10).await;
    let first = realm.tokens().await["refresh_token"].as_str().unwrap().to_owned();
    realm.clock.advance(Duration::from_secs(5));
    assert_eq!(realm.refresh(&first).await.status, 200);
    realm.clock.advance(Duration::from_secs(5));
    assert_eq!(error(&realm.refresh(&first).await), "invalid_grant");
}

/// Who exchanges a token at the moment in which its family ends gets a successor that nobody saw: it is dead all the same.
async fn a_successor_that_nobody_saw_is_dead(on: On) {
    let realm = Realm::start(on).await;
    let unseen = async || {
        let mut tx = realm.database.tenant(Product::Identity, realm.tenants[0], TenantAccess::Plain).await.unwrap();
        // As the race leaves it: the other's statement did not find the row.
        assert!(tx.execute(Sql::new("UPDATE {s}refresh_tokens SET revoked_at = NULL")).await.unwrap() > 0);
        tx.commit().await.unwrap();
    };
    let first = realm.tokens().await["refresh_token"].as_str().unwrap().to_owned();
    let next = realm.refresh(&first).await.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(realm.post("/oauth2/v1/revoke", WEB, &[("token", &next)]).await.status, 200);
    unseen().await;
    assert!(!realm.is_active(&next).await);
    assert_eq!(error(&realm.refresh(&next).await), "invalid_grant");
}

async fn scope_shrinks_and_never_grows(on: On) {
    let realm = Realm::start(on).await;
    let refresh = realm.tokens().await["refresh_token"].as_str().unwrap().to_owned();
    let ask = async |token: &str, scope: &str| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)];
        realm.post("/oauth2/v1/token", WEB, &fields).await
    };
    assert_eq!(error(&ask(&refresh, "openid kms:write").await), "invalid_scope");
    assert_eq!(error(&ask(&refresh, "openid everything").await), "invalid_scope");
    let less = ask(&refresh, "openid").await.json();
    assert_eq!(less["scope"], "openid");
    let again = ask(less["refresh_token"].as_str().unwrap(), "openid kms:read").await;
    assert_eq!(again.status, 200, "the refresh token keeps what was granted");
}

async fn codes_are_bound_to_client_redirect_and_verifier_and_expire(on: On) {
    let realm = Realm::start(on).await;
    let code = async || realm.browser().code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let redeem = async |code: &str, client: &str, change: (&str, &str)| {
        let base = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", identity::seed::REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let fields: Vec<_> = base
            .into_iter()
            .filter(|(name, _)| *name != change.0)
            .chain((!change.1.is_empty()).then_some(change))
            .collect();
        realm.post("/oauth2/v1/token", client, &fields).await
    };
    let own = code().await;
    let foreign = redeem(&own, "demo-2.demo-confidential-client", ("", "")).await;
    assert_eq!(error(&foreign), "invalid_grant");
    assert_eq!(redeem(&own, WEB, ("", "")).await.status, 200, "another client's try does not use it up");
    for change in [
        ("code_verifier", ""),
        ("code_verifier", "x".repeat(43).as_str()),
        ("redirect_uri", "http://localhost:3000/other"),
    ] {
        assert_eq!(error(&redeem(&code().await, WEB, change).await), "invalid_grant", "{change:?}");
    }
    let late = code().await;
    realm.clock.advance(Duration::from_secs(61));
    assert_eq!(error(&redeem(&late, WEB, ("", "")).await), "invalid_grant");
    for rubbish in ["x", "", &"A".repeat(64)] {
        assert!(["invalid_grant", "invalid_request"].contains(&error(&redeem(rubbish, WEB, ("", "")).await).as_str()));
    }
}

async fn clients_are_authenticated_and_errors_are_those_of_the_rfc(on: On) {
    let realm = Realm::start(on).await;
    let url = realm.url("/oauth2/v1/token");
    let grant = ("grant_type", "client_credentials");
    let send = async |basic: Option<&str>, fields: &[(&str, &str)]| {
        let headers: Vec<_> = basic.map(|basic| (header::AUTHORIZATION, basic)).into_iter().collect();
        realm.client.post_form(&url, &headers, fields).await.unwrap()
    };
    let good = realm.basic("demo-service-client");
    let secret = realm.credentials.secret("demo-service-client");
    let token = send(Some(&good), &[grant, ("scope", "kms:sign")]).await;
    assert_eq!((token.status.as_u16(), token.json()["scope"].as_str()), (200, Some("kms:sign")));
    assert!(token.json().get("refresh_token").is_none() && token.json().get("id_token").is_none());
    let post = [("client_id", "demo-service-client"), ("client_secret", secret), grant];
    assert_eq!(send(None, &post).await.status, 200);

    let mut bodies = std::collections::HashSet::new();
    for (basic, fields) in [
        (None, vec![("client_id", "demo-service-client"), ("client_secret", "wrong"), grant]),
        (None, vec![("client_id", "nobody"), ("client_secret", "wrong"), grant]),
        (None, vec![("client_id", "demo-service-client"), grant]),
        (Some("Basic ZGVtby1zZXJ2aWNlLWNsaWVudDp3cm9uZw=="), vec![grant]),
        (Some("Basic rubbish"), vec![grant]),
        (None, vec![("client_id", "demo-public-client"), ("client_secret", "x"), grant]),
    ] {
        let answer = send(basic, &fields).await;
        assert_eq!((answer.status.as_u16(), error(&answer)), (401, "invalid_client".into()), "{fields:?}");
        assert!(answer.header(&header::WWW_AUTHENTICATE).starts_with("Basic"));
        bodies.insert(answer.text());
    }
    assert_eq!(bodies.len(), 1, "unknown client and wrong secret look alike");
    for (basic, fields, expected) in [
        (Some(good.as_str()), vec![("client_secret", secret), grant], "invalid_request"),
        (Some(&good), vec![grant, ("scope", "kms:admin")], "invalid_scope"),
        (Some(&good), vec![grant, ("scope", "openid")], "invalid_scope"),
        (Some(&good), vec![grant, ("scope", "a  b")], "invalid_scope"),
        (Some(&good), vec![("grant_type", "password")], "unsupported_grant_type"),
        (Some(&good), vec![("scope", "x")], "invalid_request"),
        (Some(&good), vec![grant, grant], "invalid_request"),
        (Some(&good), vec![("grant_type", "authorization_code"), ("code", "x")], "unauthorized_client"),
        (Some(&good), vec![("grant_type", "refresh_token"), ("refresh_token", "x")], "unauthorized_client"),
        (None, vec![("client_id", "demo-public-client"), grant], "unauthorized_client"),
    ] {
        let answer = send(basic, &fields).await;
        assert_eq!((answer.status.as_u16(), error(&answer)), (400, expected.into()), "{fields:?}");
        assert_eq!(answer.header(&header::CONTENT_TYPE), "application/json");
    }
    let json = realm
        .client
        .send(http::Method::POST, &url, &[(header::CONTENT_TYPE, "application/json")], "{}".into())
        .await
        .unwrap();
    assert_eq!(error(&json), "invalid_request");
}

async fn introspection_and_revocation_ask_who_it_is(on: On) {
    let realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    for path in ["/oauth2/v1/introspect", "/oauth2/v1/revoke", "/oauth2/introspect", "/oauth2/revoke"] {
        let answer = realm.client.post_form(&realm.url(path), &[], &[("token", access)]).await.unwrap();
        assert_eq!((answer.status.as_u16(), error(&answer)), (401, "invalid_client".into()), "{path}");
    }
    let public = [("client_id", "demo-public-client"), ("token", access)];
    let answer = realm.client.post_form(&realm.url("/oauth2/v1/introspect"), &[], &public).await.unwrap();
    assert_eq!(answer.status, 401, "public clients do not introspect");
    assert!(realm.is_active(access).await && realm.is_active(refresh).await);
    assert!(!realm.is_active("rubbish").await && !realm.is_active(tokens["id_token"].as_str().unwrap()).await);
    // Another client of the tenant sees access tokens, not refresh tokens; another tenant sees nothing.
    let ask = async |client: &str, token: &str| {
        realm.post("/oauth2/v1/introspect", client, &[("token", token)]).await.json()["active"] == true
    };
    assert!(ask("demo-service-client", access).await && !ask("demo-service-client", refresh).await);
    let other = "demo-2.demo-confidential-client";
    assert!(!ask(other, access).await && !ask(other, refresh).await);
    // A foreign client's revocation is answered 200 and does nothing.
    for client in ["demo-service-client", other] {
        for token in [access, refresh, "rubbish"] {
            assert_eq!(realm.post("/oauth2/v1/revoke", client, &[("token", token)]).await.status, 200);
        }
    }
    assert!(realm.is_active(access).await && realm.is_active(refresh).await);
    realm.post("/oauth2/v1/revoke", WEB, &[("token", refresh), ("token_type_hint", "access_token")]).await;
    assert!(!realm.is_active(refresh).await && !realm.is_active(access).await, "with its access tokens");
}

async fn userinfo_takes_access_tokens_with_openid_only(on: On) {
    let realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    let id = tokens["id_token"].as_str().unwrap();
    assert_eq!(realm.userinfo(id).await.status, 401);
    let service = realm.post("/oauth2/v1/token", WEB, &[("grant_type", "client_credentials")]).await.json();
    assert_eq!(realm.userinfo(service["access_token"].as_str().unwrap()).await.status, 403);
    let url = realm.url(&format!("/oidc/v1/userinfo?access_token={}", tokens["access_token"].as_str().unwrap()));
    assert_eq!(realm.client.get(&url).await.unwrap().status, 401, "never in the query");
    realm.clock.advance(Duration::from_secs(901));
    assert_eq!(realm.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 401);
}

/// A known client's token is minted without any statement.
async fn client_credentials_touch_no_database(on: On) {
    let count = Arc::new(AtomicUsize::new(0));
    let hook: StatementHook = {
        let count = Arc::clone(&count);
        Arc::new(move |space, _| {
            if space != keyrealm_store::Space::Control {
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let realm = Realm::start_with(on, Some(hook)).await;
    // Reconciling polls the realm-level schema; it is counted apart by waiting for a quiet moment.
    let mint = async || {
        assert_eq!(realm.post("/oauth2/v1/token", WEB, &[("grant_type", "client_credentials")]).await.status, 200);
    };
    mint().await;
    let mut quiet = false;
    for _ in 0..5 {
        let before = count.load(Ordering::SeqCst);
        for _ in 0..20 {
            mint().await;
        }
        quiet |= count.load(Ordering::SeqCst) == before;
    }
    assert!(quiet, "no round of twenty tokens went without a statement");
}

on_each_database!(
    tokens_say_what_the_standards_ask_for,
    the_metadata_is_whole_and_every_address_in_it_answers,
    a_code_used_a_hundred_times_at_once_gives_tokens_once,
    a_refresh_token_used_a_hundred_times_at_once_is_exchanged_once,
    replays_end_the_family_and_lost_answers_do_not,
    an_answer_that_was_not_lost_but_stolen_ends_the_family,
    an_expired_token_has_no_lost_answer,
    a_successor_that_nobody_saw_is_dead,
    scope_shrinks_and_never_grows,
    codes_are_bound_to_client_redirect_and_verifier_and_expire,
    clients_are_authenticated_and_errors_are_those_of_the_rfc,
    introspection_and_revocation_ask_who_it_is,
    userinfo_takes_access_tokens_with_openid_only,
    client_credentials_touch_no_database,
);
