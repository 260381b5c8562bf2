//! Consent, sessions and log-out as an attacker or a careless application sees them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::collections::BTreeMap;

use http::{Method, header};
use identity::seed::{LOGGED_OUT_URI, REDIRECT_URI};
use keyrealm_http::client::Answer;
use keyrealm_testkit::{On, on_each_database};
use support::{Browser, Realm, VERIFIER, WEB, error, form, location, query};
use url::Url;

const OTHER: &str = "demo-2.demo-confidential-client";

/// Logs in on the page that a request leads to; the answer leads on.
async fn log_in(browser: &mut Browser<'_>, begin: &Url, user: &str) -> Url {
    let (at, page) = browser.page(begin).await;
    let mut fields = form(&page);
    fields.insert("username".into(), user.into());
    fields.insert("password".into(), browser.realm.credentials.password(user).into());
    let answer = browser.send(Method::POST, &at, Some(&fields)).await;
    location(&at, &answer)
}

/// Nothing asked for is no agreement: without a scope, and with one that nobody knows, the user is asked all the same.
async fn without_consent_there_is_no_code(on: On) {
    let realm = Realm::start(on).await;
    for scope in ["", "unknown", "kms:read"] {
        let mut browser = realm.browser();
        let begin = realm.authorize(WEB, &[("scope", scope)]);
        // The role `service` gives no kms:read: what is left is empty, too.
        let user = match scope {
            "" => "demo-user",
            "unknown" => "demo-admin",
            _ => "demo-service",
        };
        let at = log_in(&mut browser, &begin, user).await;
        assert!(at.path().ends_with("/consent"), "{scope:?} led to {at}");
        let silent = realm.authorize(WEB, &[("scope", scope), ("prompt", "none")]);
        let refused = location(&silent, &browser.get(&silent).await);
        assert_eq!(query(&refused, "error").as_deref(), Some("consent_required"), "{scope:?}");
        let mut fields = form(&browser.get(&at).await);
        fields.insert("action".into(), "approve".into());
        let back = location(&at, &browser.send(Method::POST, &at, Some(&fields)).await);
        let tokens = realm.redeem(&query(&back, "code").unwrap()).await.json();
        assert_eq!(tokens["scope"], "", "{scope:?}");
        assert!(tokens.get("id_token").is_none());
        let again = location(&silent, &browser.get(&silent).await);
        assert!(query(&again, "code").is_some(), "once agreed, it is not asked again");
        // An agreement to nothing is none to something.
        let more = realm.authorize(WEB, &[("scope", "openid"), ("prompt", "none")]);
        let at = location(&more, &browser.get(&more).await);
        assert_eq!(query(&at, "error").as_deref(), Some("consent_required"));
    }
}

async fn consent_is_the_own_users_own_answer(on: On) {
    let realm = Realm::start(on).await;
    let begin = realm.authorize(WEB, &[]);
    let (mut victim, mut attacker) = (realm.browser(), realm.browser());
    // Consent before log-in.
    let (at, _) = victim.page(&begin).await;
    let request_id = query(&at, "request_id").unwrap();
    let early = realm.url(&format!("/oidc/v1/consent?request_id={request_id}"));
    assert_eq!(victim.get(&early).await.status, 400, "nobody has logged in for it yet");
    let consent_at = log_in(&mut victim, &begin, "demo-admin").await;
    let mut fields = form(&victim.get(&consent_at).await);
    fields.insert("action".into(), "approve".into());
    // Another user, with the right form token of a browser of their own, or with none, or with the victim's.
    let own_at = log_in(&mut attacker, &begin, "demo-user").await;
    let own_token = form(&attacker.get(&own_at).await)["form_token"].clone();
    for token in [Some(fields["form_token"].clone()), Some(own_token.clone()), Some("x".into()), None] {
        let mut forged = fields.clone();
        match token {
            Some(token) => forged.insert("form_token".into(), token),
            None => forged.remove("form_token"),
        };
        assert_eq!(attacker.send(Method::POST, &consent_at, Some(&forged)).await.status, 403);
        if forged.get("form_token") != fields.get("form_token") {
            assert_eq!(victim.send(Method::POST, &consent_at, Some(&forged)).await.status, 403);
        }
    }
    // The attacker has the victim's browser cookie as well: the session is still another user's.
    let name = "__Host-keyrealm-browser".to_owned();
    attacker.cookies.insert(name.clone(), victim.cookies[&name].clone());
    assert_eq!(attacker.send(Method::POST, &consent_at, Some(&fields)).await.status, 400);
    let answer = victim.send(Method::POST, &consent_at, Some(&fields)).await;
    assert!(query(&location(&consent_at, &answer), "code").is_some());
    // A request of another tenant's client: neither name nor session of this tenant counts there.
    let other = realm.authorize(OTHER, &[]);
    let (at, page) = victim.page(&other).await;
    let mut fields = form(&page);
    fields.insert("username".into(), "demo-admin".into());
    fields.insert("password".into(), realm.credentials.password("demo-admin").into());
    assert_eq!(victim.send(Method::POST, &at, Some(&fields)).await.status, 401);
    let foreign = query(&at, "request_id").unwrap();
    let foreign = realm.url(&format!("/oidc/v1/consent?request_id={foreign}"));
    assert_eq!(victim.get(&foreign).await.status, 400);
}

/// A session that somebody put into the browser is not the one that the log-in makes, and the log-in ends it.
async fn a_planted_session_gains_nothing(on: On) {
    let realm = Realm::start(on).await;
    let (mut victim, mut attacker) = (realm.browser(), realm.browser());
    attacker.walk(&realm.authorize(WEB, &[]), "demo-user").await;
    let (name, planted) = attacker.session(0);
    let refresh = {
        let code = attacker.code(&realm.authorize(WEB, &[]), "demo-user").await;
        realm.redeem(&code).await.json()["refresh_token"].as_str().unwrap().to_owned()
    };
    victim.cookies.insert(name, planted.clone());
    victim.walk(&realm.authorize(WEB, &[("prompt", "login")]), "demo-admin").await;
    assert_ne!(victim.session(0).1, planted, "log-in makes a new session");
    assert_eq!(attacker.silent(WEB).await.as_deref(), Some("login_required"), "the planted one is over");
    assert_eq!(error(&realm.refresh(&refresh).await), "invalid_grant", "with its tokens");
    assert_eq!(victim.silent(WEB).await, None);
}

/// The same user again: the old cookie is dead, the applications stay logged in, and log-out ends them all.
async fn a_user_who_logs_in_again_keeps_the_applications(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let first = realm.redeem(&code).await.json();
    let mut old = realm.browser();
    old.cookies = browser.cookies.clone();
    let before = browser.session(0).1;
    browser.walk(&realm.authorize(WEB, &[("prompt", "login")]), "demo-admin").await;
    assert_ne!(browser.session(0).1, before);
    assert_eq!(old.silent(WEB).await.as_deref(), Some("login_required"), "the old cookie is dead");
    assert!(realm.is_active(first["access_token"].as_str().unwrap()).await);
    let mut url = realm.url("/oidc/v1/logout");
    url.query_pairs_mut().append_pair("id_token_hint", first["id_token"].as_str().unwrap());
    assert!(browser.get(&url).await.text().contains("logged out"));
    assert!(!realm.is_active(first["access_token"].as_str().unwrap()).await);
}

/// One browser, two tenants: each has its session, and what one client's log-out names is ended alone.
async fn sessions_of_tenants_stand_side_by_side(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let hint = realm.redeem(&code).await.json()["id_token"].as_str().unwrap().to_owned();
    browser.walk(&realm.authorize(OTHER, &[]), "demo-user-2").await;
    assert_eq!((browser.silent(WEB).await, browser.silent(OTHER).await), (None, None));
    let mut url = realm.url("/oidc/v1/logout");
    url.query_pairs_mut().append_pair("id_token_hint", &hint);
    assert!(browser.get(&url).await.text().contains("logged out"));
    assert_eq!(browser.silent(WEB).await.as_deref(), Some("login_required"));
    assert_eq!(browser.silent(OTHER).await, None);
    // A handle under another tenant's name is none.
    let (name, _) = browser.session(0);
    let (_, other) = browser.session(1);
    browser.cookies.insert(name, other);
    assert_eq!(browser.silent(WEB).await.as_deref(), Some("login_required"));
}

fn end(realm: &Realm, fields: &[(&str, &str)]) -> Url {
    let mut url = realm.url("/oidc/v1/logout");
    url.query_pairs_mut().extend_pairs(fields);
    url
}

/// Asked and answered: what the application sent is not lost, and not believed without a second look.
async fn the_question_of_the_log_out_keeps_what_was_sent(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let tokens = realm.redeem(&code).await.json();
    // Another log-in's token: right, and not of this session.
    let other = realm.tokens().await;
    let hint = other["id_token"].as_str().unwrap();
    let state = "a b&c=\"<x>\"";
    let url = end(&realm, &[("id_token_hint", hint), ("post_logout_redirect_uri", LOGGED_OUT_URI), ("state", state)]);
    let page = browser.get(&url).await;
    assert!(page.text().contains("Log out?"));
    let fields = form(&page);
    assert_eq!((fields["state"].as_str(), fields["post_logout_redirect_uri"].as_str()), (state, LOGGED_OUT_URI));
    let at = realm.url("/oidc/v1/logout");
    let post = async |browser: &mut Browser<'_>, change: &[(&str, &str)]| {
        let mut fields: BTreeMap<_, _> = fields.clone();
        for (name, value) in change {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        browser.send(Method::POST, &at, Some(&fields)).await
    };
    // Forged: another target, and the answer of a page elsewhere.
    let evil = post(&mut browser, &[("post_logout_redirect_uri", "https://evil.test/")]).await;
    assert_eq!((evil.status.as_u16(), evil.header(&header::LOCATION)), (400, ""));
    let access = tokens["access_token"].as_str().unwrap();
    for token in ["", "x"] {
        let answer: Answer = post(&mut browser, &[("form_token", token)]).await;
        assert!(answer.text().contains("Log out?"), "a form from elsewhere is asked about");
        assert!(realm.is_active(access).await);
    }
    let mut stranger = realm.browser();
    stranger.cookies = browser.cookies.clone();
    stranger.cookies.remove("__Host-keyrealm-browser");
    assert!(post(&mut stranger, &[]).await.text().contains("Log out?"), "a form of another browser");
    let answer = post(&mut browser, &[]).await;
    let gone = location(&at, &answer);
    assert!(gone.as_str().starts_with(LOGGED_OUT_URI) && query(&gone, "state").as_deref() == Some(state), "{gone}");
    assert!(!realm.is_active(access).await);
    assert_eq!(browser.silent(WEB).await.as_deref(), Some("login_required"));
}

/// Logged out between code and token: the code is worth nothing.
async fn a_code_from_before_the_log_out_is_dead(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let first = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let hint = realm.redeem(&first).await.json()["id_token"].as_str().unwrap().to_owned();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    assert!(browser.get(&end(&realm, &[("id_token_hint", &hint)])).await.text().contains("logged out"));
    assert_eq!(error(&realm.redeem(&code).await), "invalid_grant");
}

/// A public client goes the whole way without any secret.
async fn a_public_client_goes_the_whole_way(on: On) {
    let realm = Realm::start(on).await;
    let client = "demo-public-client";
    let begin = realm.authorize(client, &[("scope", "openid profile email")]);
    let code = realm.browser().code(&begin, "demo-user").await;
    let post = async |fields: &[(&str, &str)]| {
        realm.client.post_form(&realm.url("/oauth2/v1/token"), &[], fields).await.unwrap()
    };
    let grant = ("grant_type", "authorization_code");
    let base = [grant, ("code", code.as_str()), ("redirect_uri", REDIRECT_URI), ("client_id", client)];
    let without = [grant, ("code", code.as_str()), ("redirect_uri", REDIRECT_URI), ("code_verifier", VERIFIER)];
    assert_eq!(error(&post(&without).await), "invalid_client", "who it is must be said");
    let tokens = post(&[base.as_slice(), &[("code_verifier", VERIFIER)]].concat()).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    let access = tokens["access_token"].as_str().unwrap();
    // Userinfo by POST, as by GET.
    let bearer = format!("Bearer {access}");
    let url = realm.url("/oidc/v1/userinfo");
    let posted = realm.client.send(Method::POST, &url, &[(header::AUTHORIZATION, &bearer)], "".into()).await.unwrap();
    let info = posted.json();
    assert_eq!(info, realm.userinfo(access).await.json());
    assert_eq!(
        (info["preferred_username"].as_str(), info["email"].as_str()),
        (Some("demo-user"), Some("user@demo.local"))
    );
    let fields = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let refreshed = post(&[fields.as_slice(), &[("client_id", client)]].concat()).await;
    assert_eq!(refreshed.status, 200);
    assert_eq!(error(&post(&fields).await), "invalid_client");
    let revoke = [("token", access), ("client_id", client)];
    let answer = realm.client.post_form(&realm.url("/oauth2/v1/revoke"), &[], &revoke).await.unwrap();
    assert_eq!((answer.status.as_u16(), realm.userinfo(access).await.status.as_u16()), (200, 401));
}

/// What names a tenant beside the client changes nothing (TEN-01).
async fn a_tenant_beside_the_client_has_no_effect(on: On) {
    let realm = Realm::start(on).await;
    let other = realm.tenants[1].to_string();
    let begin = realm.authorize(WEB, &[("tenant_id", &other), ("tenant", "demo-2")]);
    let code = realm.browser().code(&begin, "demo-admin").await;
    let basic = realm.basic(WEB);
    let name = header::HeaderName::from_static("x-tenant-id");
    let fields =
        [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER), ("tenant_id", &other)];
    let headers = [(header::AUTHORIZATION, basic.as_str()), (name.clone(), other.as_str())];
    let tokens = realm.client.post_form(&realm.url("/oauth2/v1/token"), &headers, &fields).await.unwrap().json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let headers = [(header::AUTHORIZATION, bearer.as_str()), (name, other.as_str())];
    let url = realm.url(&format!("/oidc/v1/userinfo?tenant_id={other}"));
    let info = realm.client.send(Method::GET, &url, &headers, "".into()).await.unwrap().json();
    assert_eq!(info["tenant_id"], realm.tenants[0].to_string());
}

/// A registered redirect URI that has a query keeps it.
async fn a_redirect_uri_keeps_its_query(on: On) {
    let realm = Realm::start(on).await;
    let uri = "https://app.test/cb?tenant=a%20b&x=";
    realm.change(0, "client", WEB, serde_json::json!({"redirect_uris": [uri, REDIRECT_URI]})).await;
    let begin = realm.authorize(WEB, &[("redirect_uri", uri), ("prompt", "none")]);
    let at = location(&begin, &realm.client.get(&begin).await.unwrap());
    assert!(at.as_str().starts_with(&format!("{uri}&error=login_required")), "{at}");
    let other = realm.authorize(WEB, &[("redirect_uri", "https://app.test/cb"), ("prompt", "none")]);
    assert_eq!(realm.client.get(&other).await.unwrap().status, 400);
}

on_each_database!(
    without_consent_there_is_no_code,
    consent_is_the_own_users_own_answer,
    a_planted_session_gains_nothing,
    a_user_who_logs_in_again_keeps_the_applications,
    sessions_of_tenants_stand_side_by_side,
    the_question_of_the_log_out_keeps_what_was_sent,
    a_code_from_before_the_log_out_is_dead,
    a_public_client_goes_the_whole_way,
    a_tenant_beside_the_client_has_no_effect,
    a_redirect_uri_keeps_its_query,
);
