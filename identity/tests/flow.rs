//! The log-in: pages, redirects, sessions, consent, log-out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use http::{Method, header};
use identity::seed::{LOGGED_OUT_URI, REDIRECT_URI};
use keyrealm_testkit::{On, on_each_database};
use support::{Realm, WEB, error, form, location, query};

async fn a_whole_log_in_echoes_state_and_issuer(on: On) {
    let realm = Realm::start(on).await;
    let state = "a b&c=d%é\r\nLocation: evil";
    let at = realm.browser().walk(&realm.authorize(WEB, &[("state", state)]), "demo-admin").await;
    assert!(at.as_str().starts_with(REDIRECT_URI) && !at.as_str().contains(['\r', '\n', ' ']));
    assert_eq!(query(&at, "state").as_deref(), Some(state));
    assert_eq!(query(&at, "iss").as_deref(), Some(realm.issuer.as_str().trim_end_matches('/')));
    let tokens = realm.redeem(&query(&at, "code").unwrap()).await;
    assert_eq!((tokens.status.as_u16(), tokens.header(&header::CACHE_CONTROL)), (200, "no-store"));
    let info = realm.userinfo(tokens.json()["access_token"].as_str().unwrap()).await;
    assert_eq!(info.json()["preferred_username"], "demo-admin");
}

async fn the_post_form_of_the_request_works_alike(on: On) {
    let realm = Realm::start(on).await;
    let url = realm.authorize(WEB, &[]);
    let fields = url.query_pairs().into_owned().collect();
    let mut browser = realm.browser();
    let answer = browser.send(Method::POST, &realm.url("/oauth2/v1/authorize"), Some(&fields)).await;
    assert!(location(&url, &answer).path().ends_with("/login"));
}

/// A wrong client or redirect URI is told on a page; nothing is sent anywhere (IDN-07).
async fn nothing_is_sent_to_addresses_that_are_not_registered(on: On) {
    let realm = Realm::start(on).await;
    for change in [
        [("redirect_uri", "http://localhost:3000/callback/")],
        [("redirect_uri", "http://localhost:3000/Callback")],
        [("redirect_uri", "http://localhost:3001/callback")],
        [("redirect_uri", "http://localhost:3000/callback?x=1")],
        [("redirect_uri", "http://127.0.0.1:3000/callback")],
        [("redirect_uri", "https://evil.test/")],
        [("redirect_uri", "")],
        [("client_id", "nobody")],
        [("client_id", "")],
    ] {
        let answer = realm.client.get(&realm.authorize(WEB, &change)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header(&header::LOCATION)), (400, ""), "{change:?}");
        assert!(answer.header(&header::CONTENT_TYPE).starts_with("text/html"));
    }
    let mut twice = realm.authorize(WEB, &[]);
    twice.query_pairs_mut().append_pair("scope", "openid");
    assert_eq!(realm.client.get(&twice).await.unwrap().status, 400);
}

async fn errors_go_back_to_the_client_with_state_and_issuer(on: On) {
    let realm = Realm::start(on).await;
    for (change, expected) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "kms:admin"), "invalid_scope"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("request", "x"), "request_not_supported"),
        (("prompt", "none"), "login_required"),
    ] {
        let url = realm.authorize(WEB, &[change]);
        let at = location(&url, &realm.client.get(&url).await.unwrap());
        assert!(at.as_str().starts_with(REDIRECT_URI));
        assert_eq!(query(&at, "error").as_deref(), Some(expected), "{change:?}");
        assert_eq!(query(&at, "state").as_deref(), Some("the state"));
        assert!(query(&at, "iss").is_some() && query(&at, "code").is_none());
    }
}

async fn single_sign_on_and_the_prompts(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let first = realm.authorize(WEB, &[]);
    browser.walk(&first, "demo-admin").await;
    // The session stands and the user has agreed: no page is shown.
    let silent = realm.authorize(WEB, &[("prompt", "none")]);
    let at = location(&silent, &browser.get(&silent).await);
    assert!(query(&at, "code").is_some(), "{at}");
    let again = realm.authorize(WEB, &[("prompt", "login")]);
    assert!(location(&again, &browser.get(&again).await).path().ends_with("/login"));
    let ask = realm.authorize(WEB, &[("prompt", "consent")]);
    assert!(location(&ask, &browser.get(&ask).await).path().ends_with("/consent"));
    let more = realm.authorize(WEB, &[("scope", "openid kms:write"), ("prompt", "none")]);
    let at = location(&more, &browser.get(&more).await);
    assert_eq!(query(&at, "error").as_deref(), Some("consent_required"), "a wider scope is asked for again");
    // The second tenant's client does not know this session.
    let other = realm.authorize("demo-2.demo-confidential-client", &[("prompt", "none")]);
    let at = location(&other, &browser.get(&other).await);
    assert_eq!(query(&at, "error").as_deref(), Some("login_required"));
    realm.clock.advance(std::time::Duration::from_secs(5));
    let old = realm.authorize(WEB, &[("max_age", "1")]);
    assert!(location(&old, &browser.get(&old).await).path().ends_with("/login"));
    realm.clock.advance(std::time::Duration::from_secs(3600));
    assert!(location(&first, &browser.get(&first).await).path().ends_with("/login"), "an idle session is over");
}

async fn denied_consent_is_told_to_the_client(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let (login_at, page) = browser.page(&realm.authorize(WEB, &[])).await;
    let mut fields = form(&page);
    fields.insert("username".into(), "demo-user".into());
    fields.insert("password".into(), realm.credentials.password("demo-user").into());
    let answer = browser.send(Method::POST, &login_at, Some(&fields)).await;
    let consent_at = location(&login_at, &answer);
    let page = browser.get(&consent_at).await;
    assert!(page.text().contains("Demo web app") && !page.text().contains("kms:read"), "roles limit what is asked");
    let mut fields = form(&page);
    fields.insert("action".into(), "deny".into());
    let answer = browser.send(Method::POST, &consent_at, Some(&fields)).await;
    assert_eq!(query(&location(&consent_at, &answer), "error").as_deref(), Some("access_denied"));
    let answer = browser.send(Method::POST, &consent_at, Some(&fields)).await;
    assert_eq!(answer.status, 400, "the interaction is over");
}

/// A form from elsewhere, a form of another browser, and consent by another user's session (IDN-09, IDN-10).
async fn forms_belong_to_their_browser_and_user(on: On) {
    let realm = Realm::start(on).await;
    let (mut victim, mut attacker) = (realm.browser(), realm.browser());
    let (at, page) = attacker.page(&realm.authorize(WEB, &[])).await;
    let mut fields = form(&page);
    fields.insert("username".into(), "demo-user".into());
    fields.insert("password".into(), realm.credentials.password("demo-user").into());
    // Log-in CSRF: the attacker's form, posted by the victim's browser.
    assert_eq!(victim.send(Method::POST, &at, Some(&fields)).await.status, 403);
    let mut without = fields.clone();
    without.remove("form_token");
    assert_eq!(attacker.send(Method::POST, &at, Some(&without)).await.status, 403);
    let answer = attacker.send(Method::POST, &at, Some(&fields)).await;
    let consent_at = location(&at, &answer);
    victim.walk(&realm.authorize(WEB, &[]), "demo-admin").await;
    assert_eq!(victim.get(&consent_at).await.status, 400, "another user's question");
}

async fn pages_are_safe_and_usable(on: On) {
    let realm = Realm::start(on).await;
    let (_, page) = realm.browser().page(&realm.authorize(WEB, &[("login_hint", "<script>x</script>")])).await;
    let policy = page.header(&header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.header(&header::X_FRAME_OPTIONS), "DENY");
    assert_eq!(page.header(&header::CACHE_CONTROL), "no-store");
    let html = page.text();
    assert!(!html.contains("<script"), "{html}");
    for needed in [
        "lang=\"en\"",
        "width=device-width",
        "<label for=\"username\">",
        "<label for=\"password\">",
        "autocomplete=\"current-password\"",
        "prefers-color-scheme:dark",
    ] {
        assert!(html.contains(needed), "{needed}");
    }
    let over = realm.client.get(&realm.url("/oidc/v1/login?request_id=x")).await.unwrap();
    assert!(
        over.status == 400
            && over.text().contains("start again")
            && !over.header(&"x-request-id".parse().unwrap()).is_empty()
    );
}

/// Guessing is slowed down without a hint at whether the user exists (TEN-20).
async fn unknown_users_and_wrong_passwords_look_alike_and_guessing_slows_down(on: On) {
    let realm = Realm::start(on).await;
    let mut seen = std::collections::HashSet::new();
    for user in ["demo-user", "nobody"] {
        let mut browser = realm.browser();
        let (at, page) = browser.page(&realm.authorize(WEB, &[])).await;
        let mut fields = form(&page);
        fields.insert("username".into(), user.into());
        fields.insert("password".into(), "wrong".into());
        for _ in 0..5 {
            let answer = browser.send(Method::POST, &at, Some(&fields)).await;
            let text =
                answer.text().replace(&fields["request_id"], "").replace(&fields["form_token"], "").replace(user, "");
            seen.insert((answer.status.as_u16(), text));
        }
        let answer = browser.send(Method::POST, &at, Some(&fields)).await;
        assert_eq!(answer.status, 429, "{user}");
        assert_eq!(answer.header(&header::RETRY_AFTER), "1");
        fields.insert("password".into(), realm.credentials.password("demo-user").into());
        if user == "demo-user" {
            assert_eq!(browser.send(Method::POST, &at, Some(&fields)).await.status, 429);
            realm.clock.advance(std::time::Duration::from_secs(2));
            assert_eq!(browser.send(Method::POST, &at, Some(&fields)).await.status, 303);
        }
    }
    assert_eq!(seen.len(), 1, "{:?}", seen.iter().map(|(status, _)| status).collect::<Vec<_>>());
}

async fn log_out_asks_redirects_and_ends_everything(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let tokens = realm.redeem(&code).await.json();
    let (hint, access) = (tokens["id_token"].as_str().unwrap(), tokens["access_token"].as_str().unwrap());
    let end = |fields: &[(&str, &str)]| {
        let mut url = realm.url("/oidc/v1/logout");
        url.query_pairs_mut().extend_pairs(fields);
        url
    };
    let target = ("post_logout_redirect_uri", LOGGED_OUT_URI);
    let long = "x".repeat(128);
    for bad in [
        vec![("id_token_hint", hint), ("post_logout_redirect_uri", "https://evil.test/")],
        vec![("id_token_hint", hint), ("post_logout_redirect_uri", "http://localhost:3000/logged-out?foo=bar")],
        vec![("id_token_hint", "rubbish"), target],
        vec![("id_token_hint", access), target],
        vec![target],
        vec![("id_token_hint", hint), target, ("client_id", "demo-service-client")],
    ] {
        let answer = browser.get(&end(&bad)).await;
        assert_eq!((answer.status.as_u16(), answer.header(&header::LOCATION)), (400, ""), "{bad:?}");
    }
    let ask = browser.get(&end(&[])).await;
    assert!(ask.status == 200 && ask.text().contains("Log out?"), "without a hint the user is asked");
    assert!(realm.is_active(access).await);
    let answer = browser.get(&end(&[("id_token_hint", hint), target, ("state", &long)])).await;
    assert_eq!(location(&realm.issuer, &answer).as_str(), format!("{LOGGED_OUT_URI}?state={long}"));
    assert!(!realm.is_active(access).await && realm.userinfo(access).await.status == 401);
    assert_eq!(error(&realm.refresh(tokens["refresh_token"].as_str().unwrap()).await), "invalid_grant");
    let silent = realm.authorize(WEB, &[("prompt", "none")]);
    let at = location(&silent, &browser.get(&silent).await);
    assert_eq!(query(&at, "error").as_deref(), Some("login_required"));
    let done = browser.get(&end(&[])).await;
    assert!(done.text().contains("logged out"));
}

on_each_database!(
    a_whole_log_in_echoes_state_and_issuer,
    the_post_form_of_the_request_works_alike,
    nothing_is_sent_to_addresses_that_are_not_registered,
    errors_go_back_to_the_client_with_state_and_issuer,
    single_sign_on_and_the_prompts,
    denied_consent_is_told_to_the_client,
    forms_belong_to_their_browser_and_user,
    pages_are_safe_and_usable,
    unknown_users_and_wrong_passwords_look_alike_and_guessing_slows_down,
    log_out_asks_redirects_and_ends_everything,
);
