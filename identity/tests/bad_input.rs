//! Forged tokens and bad forms, at every endpoint that takes them; and that the document says what is really answered.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use http::{Method, header};
use identity::seed::LOGGED_OUT_URI;
use keyrealm_crypto::{SecretBytes, hmac_sha256};
use keyrealm_http::client::Answer;
use keyrealm_jose::b64;
use keyrealm_testkit::{On, on_each_database};
use serde_json::{Value, json};
use support::{Realm, WEB, error, form};

/// Forgeries of a token, each with what it is.
fn forgeries(token: &str, jwks: &[u8]) -> Vec<(String, String)> {
    let parts: Vec<&str> = token.split('.').collect();
    let header = keyrealm_jose::json::object(&b64::decode(parts[0]).unwrap()).unwrap();
    let with = |members: &[(&str, Value)], signature: &dyn Fn(&str) -> String| {
        let mut header = header.clone();
        header.extend(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let input = format!("{}.{}", b64::encode(Value::Object(header).to_string()), parts[1]);
        format!("{input}.{}", signature(&input))
    };
    let hmac = |key: &[u8], input: &str| b64::encode(hmac_sha256(&SecretBytes::new(key.to_vec()), &[input.as_bytes()]));
    let set: Value = serde_json::from_slice(jwks).unwrap();
    let key = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap().to_string();
    let own = |_: &str| parts[2].to_owned();
    let mut forged = vec![
        ("alg none".to_owned(), with(&[("alg", "none".into())], &|_| String::new())),
        ("alg none with a signature".to_owned(), with(&[("alg", "none".into())], &own)),
        ("HS256 with the key set".to_owned(), with(&[("alg", "HS256".into())], &|input| hmac(jwks, input))),
        ("HS256 with the key".to_owned(), with(&[("alg", "HS256".into())], &|input| hmac(key.as_bytes(), input))),
        ("another algorithm".to_owned(), with(&[("alg", "EdDSA".into())], &own)),
        ("another type".to_owned(), with(&[("typ", "logout+jwt".into())], &own)),
        ("an unknown key".to_owned(), with(&[("kid", "unknown".into())], &own)),
        ("a key of its own".to_owned(), with(&[("jwk", json!({"kty": "oct", "k": "AA"}))], &own)),
        ("a critical extension".to_owned(), with(&[("crit", json!(["x"]))], &own)),
        ("no signature".to_owned(), format!("{}.{}.", parts[0], parts[1])),
        ("two parts".to_owned(), format!("{}.{}", parts[0], parts[1])),
        ("padding".to_owned(), format!("{token}=")),
        ("rubbish".to_owned(), "rubbish".to_owned()),
    ];
    for (at, part) in parts.iter().enumerate() {
        let mut bytes = b64::decode(part).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        parts[at] = b64::encode(bytes);
        forged.push((format!("one bit of segment {at}"), parts.join(".")));
    }
    forged
}

async fn forged_tokens_are_refused_everywhere(on: On) {
    let mut realm = Realm::start(on).await;
    let jwks = realm.client.get(&realm.url("/oauth2/v1/jwks")).await.unwrap().body.to_vec();
    let tokens = realm.tokens().await;
    let (access, id) = (tokens["access_token"].as_str().unwrap(), tokens["id_token"].as_str().unwrap());
    let stranger = Realm::start(on).await.tokens().await;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let mut bad_access = forgeries(access, &jwks);
    bad_access.push(("an id_token".to_owned(), id.to_owned()));
    bad_access.push(("a foreign issuer".to_owned(), text(&stranger, "access_token")));
    for (what, token) in &bad_access {
        let answer = realm.userinfo(token).await;
        assert_eq!((answer.status.as_u16(), error(&answer)), (401, "invalid_token".into()), "{what}");
        assert!(
            answer.header(&header::WWW_AUTHENTICATE).contains("error=\"invalid_token\", error_description="),
            "{what}"
        );
        assert!(answer.json()["error_description"].is_string() && !answer.text().contains(token.as_str()), "{what}");
        assert!(!realm.is_active(token).await, "{what}");
    }
    let mut bad_hints = forgeries(id, &jwks);
    bad_hints.push(("an access token".to_owned(), access.to_owned()));
    bad_hints.push(("a foreign issuer".to_owned(), text(&stranger, "id_token")));
    for (what, token) in &bad_hints {
        let mut url = realm.url("/oidc/v1/logout");
        let fields = [("id_token_hint", token.as_str()), ("post_logout_redirect_uri", LOGGED_OUT_URI)];
        url.query_pairs_mut().extend_pairs(fields);
        let answer = realm.client.get(&url).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header(&header::LOCATION)), (400, ""), "{what}");
        let url = realm.authorize(WEB, &[("prompt", "none"), ("id_token_hint", token)]);
        let at = support::location(&url, &realm.client.get(&url).await.unwrap());
        assert_eq!(support::query(&at, "error").as_deref(), Some("invalid_request"), "{what}");
    }
    assert!(realm.is_active(access).await && realm.userinfo(access).await.status == 200);
    // A token for another audience, rightly signed.
    realm.restart(async |realm| realm.config.tokens.audience = "https://other.test".to_owned()).await;
    let other = realm.tokens().await;
    realm.restart(async |realm| realm.config.tokens.audience = "https://kms.keyrealm.local".to_owned()).await;
    let other = other["access_token"].as_str().unwrap();
    assert_eq!(realm.userinfo(other).await.status, 401);
    assert!(!realm.is_active(other).await && realm.is_active(access).await);
}

/// Wrong types and long forms are refused in the language of the endpoint.
async fn bad_forms_are_refused_in_the_language_of_the_endpoint(on: On) {
    let realm = Realm::start(on).await;
    let send = async |path: &str, content_type: &str, body: String| -> Answer {
        let headers = [(header::CONTENT_TYPE, content_type)];
        realm.client.send(Method::POST, &realm.url(path), &headers, body.into()).await.unwrap()
    };
    let form_type = "application/x-www-form-urlencoded";
    let long = format!("state={}", "x".repeat(2 * 1024 * 1024));
    for path in ["/oauth2/v1/authorize", "/oidc/v1/login", "/oidc/v1/consent", "/oidc/v1/logout"] {
        for (content_type, body, status) in [
            ("text/plain", "client_id=x".to_owned(), 415),
            ("application/json", "{}".to_owned(), 415),
            ("", String::new(), 415),
            (form_type, "state=1&state=2".to_owned(), 400),
            (form_type, long.clone(), 413),
        ] {
            let answer = send(path, content_type, body).await;
            assert_eq!(answer.status, status, "{path} {content_type}");
            assert!(answer.header(&header::CONTENT_TYPE).starts_with("text/html"), "{path} {content_type}");
            let id = answer.header(&"x-request-id".parse().unwrap());
            assert!(id.len() == 36 && answer.text().contains(id), "the page names the request");
            assert!(answer.header(&header::CONTENT_SECURITY_POLICY).contains("style-src"), "{path}");
        }
    }
    for path in ["/oauth2/v1/token", "/oauth2/v1/introspect", "/oauth2/v1/revoke", "/oauth2/token"] {
        for (content_type, body, status) in [
            ("text/plain", "grant_type=x".to_owned(), 400),
            ("application/json", "{}".to_owned(), 400),
            (form_type, "token=1&token=2".to_owned(), 400),
            (form_type, long.clone(), 413),
        ] {
            let answer = send(path, content_type, body).await;
            assert_eq!((answer.status.as_u16(), error(&answer)), (status, "invalid_request".into()), "{path}");
            assert_eq!(answer.header(&header::CONTENT_TYPE), "application/json", "{path}");
            assert_eq!(answer.header(&header::CACHE_CONTROL), "no-store", "{path}");
        }
    }
    let charset =
        send("/oauth2/v1/token", "application/x-www-form-urlencoded; charset=UTF-8", "grant_type=x".into()).await;
    assert_eq!(error(&charset), "invalid_client", "parameters of the type do not matter");
}

/// Many guesses at once get no more tries than one after another.
async fn guesses_at_once_are_slowed_down(on: On) {
    let realm = std::sync::Arc::new(Realm::start(on).await);
    let mut browser = realm.browser();
    let (at, page) = browser.page(&realm.authorize(WEB, &[])).await;
    let mut fields = form(&page);
    fields.insert("username".into(), "demo-user".into());
    fields.insert("password".into(), "wrong".into());
    let cookies = browser.cookies.clone();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (realm, cookies, fields, at) = (realm.clone(), cookies.clone(), fields.clone(), at.clone());
        set.spawn(async move {
            let mut browser = realm.browser();
            browser.cookies = cookies;
            browser.send(Method::POST, &at, Some(&fields)).await.status.as_u16()
        });
    }
    let answers = set.join_all().await;
    let tried = answers.iter().filter(|status| **status == 401).count();
    assert_eq!(tried, 5, "{answers:?}");
    // All others wait, or find the database busy.
    assert!(answers.iter().all(|status| [401, 429, 503].contains(status)), "{answers:?}");
}

/// What the document says of a member.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &document["components"]["schemas"][name.rsplit('/').next().unwrap()],
        None => schema,
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().map(|one| one.as_str().unwrap()).collect(),
        _ => return,
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is), "{at}: {is} is none of {types:?}");
    if let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, value) in members {
            let schema = known.get(name).unwrap_or_else(|| panic!("{at}.{name} is in no document"));
            fits(document, schema, value, &format!("{at}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(name.as_str().unwrap()), "{at}: {name} is missing");
        }
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(document, &schema["items"], item, &format!("{at}[{n}]"));
    }
}

/// Every answer has the members that the document promises, and no other.
async fn answers_are_as_the_document_says(on: On) {
    let realm = Realm::start(on).await;
    let document: Value = serde_json::from_str(&identity::openapi()).unwrap();
    assert_eq!(realm.client.get(&realm.url("/openapi.json")).await.unwrap().json(), document);
    let check = |method: &str, path: &str, answer: &Answer| {
        let responses = &document["paths"][path][method]["responses"];
        let response = &responses[answer.status.as_str()];
        assert!(response.is_object(), "{method} {path}: {} is in no document", answer.status);
        let content = &response["content"]["application/json"]["schema"];
        assert!(content.is_object(), "{method} {path}: {} has no body in the document", answer.status);
        fits(&document, content, &answer.json(), path);
    };
    let tokens = realm.tokens().await;
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/oauth2/v1/jwks"] {
        check("get", path, &realm.client.get(&realm.url(path)).await.unwrap());
    }
    check("get", "/oidc/v1/userinfo", &realm.userinfo(access).await);
    check("get", "/oidc/v1/userinfo", &realm.userinfo("x").await);
    check("get", "/oidc/v1/userinfo", &realm.client.get(&realm.url("/oidc/v1/userinfo")).await.unwrap());
    let own = realm.post("/oauth2/v1/token", WEB, &[("grant_type", "client_credentials")]).await;
    check("post", "/oauth2/v1/token", &own);
    let own = own.json()["access_token"].as_str().unwrap().to_owned();
    check("get", "/oidc/v1/userinfo", &realm.userinfo(&own).await);
    for token in [access, refresh, &own, "x"] {
        let answer = realm.post("/oauth2/v1/introspect", WEB, &[("token", token)]).await;
        check("post", "/oauth2/v1/introspect", &answer);
    }
    check("post", "/oauth2/v1/token", &realm.refresh(refresh).await);
    check("post", "/oauth2/v1/token", &realm.refresh("x").await);
    for path in ["/oauth2/v1/token", "/oauth2/v1/introspect", "/oauth2/v1/revoke"] {
        check("post", path, &realm.client.post_form(&realm.url(path), &[], &[("token", "x")]).await.unwrap());
        check("post", path, &realm.post(path, WEB, &[]).await);
        let security = document["paths"][path]["post"]["security"].as_array().unwrap();
        assert!(security.iter().any(|way| way.get("basic").is_some()), "{path}");
    }
    assert_eq!(document["components"]["securitySchemes"]["basic"]["scheme"], "basic");
    // Every form that is posted is described.
    for (path, item) in document["paths"].as_object().unwrap() {
        if let Some(body) = item["post"].get("requestBody") {
            let schema = &body["content"]["application/x-www-form-urlencoded"]["schema"];
            assert!(schema["$ref"].is_string(), "{path}");
        }
    }
}

on_each_database!(
    forged_tokens_are_refused_everywhere,
    bad_forms_are_refused_in_the_language_of_the_endpoint,
    guesses_at_once_are_slowed_down,
    answers_are_as_the_document_says,
);
