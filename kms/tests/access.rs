//! Who is let in, and what bad input gets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::time::{Duration, Instant};

use http::{Method, header};
use keyrealm_base::KeyId;
use keyrealm_base::SystemClock;
use keyrealm_crypto::{SecretBytes, SystemRandom, hmac_sha256};
use keyrealm_jose::b64;
use keyrealm_testkit::{On, on_each_database};
use serde_json::{Value, json};
use support::{Kms, code};

/// Every route with the scope that it needs and a body that it takes.
fn routes(id: &str) -> Vec<(Method, String, &'static str, Option<Value>)> {
    let key = |operation: &str| format!("/api/v1/keys/{id}{operation}");
    vec![
        (Method::POST, "/api/v1/keys".into(), "kms:key:create", Some(json!({"name": "n", "algorithm": "ES256"}))),
        (Method::GET, "/api/v1/keys".into(), "kms:key:read", None),
        (Method::GET, key(""), "kms:key:read", None),
        (Method::PATCH, key(""), "kms:key:update", Some(json!({"description": "d"}))),
        (Method::GET, key("/versions"), "kms:key:read", None),
        (Method::POST, key("/rotate"), "kms:version:rotate", None),
        (Method::POST, key("/encrypt"), "kms:encrypt", Some(json!({"plaintext": "aGk"}))),
        (Method::POST, key("/decrypt"), "kms:decrypt", Some(json!({"ciphertext": "x"}))),
        (Method::POST, key("/sign"), "kms:sign", Some(json!({"payload": "aGk"}))),
        (Method::POST, key("/verify"), "kms:verify", Some(json!({"signature": "x"}))),
        (Method::POST, key("/disable"), "kms:key:update", None),
        (Method::POST, key("/enable"), "kms:key:update", None),
        (Method::GET, "/api/v1/jwks".into(), "kms:key:read", None),
    ]
}

/// The list above is complete: it is that of the OpenAPI document, scopes included.
#[tokio::test]
async fn the_document_lists_these_routes_and_scopes() {
    let document: Value = serde_json::from_str(&kms::openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut listed: Vec<(String, String)> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["bearer"][0].as_str().unwrap();
            listed.push((format!("{} {path}", method.to_uppercase()), scope.to_owned()));
        }
    }
    let mut ours: Vec<(String, String)> = routes("{key_id}")
        .into_iter()
        .map(|(method, path, scope, _)| (format!("{method} {path}"), scope.to_owned()))
        .collect();
    listed.sort();
    ours.sort();
    assert_eq!(listed, ours);
}

/// Every route says what else it may answer, and in which form; ids are UUIDs.
#[tokio::test]
async fn the_document_describes_refusals() {
    let document: Value = serde_json::from_str(&kms::openapi()).unwrap();
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    assert!(document["components"]["schemas"]["Problem"]["properties"]["help"].is_object());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            for status in ["401", "403", "500", "503", "504"] {
                assert!(answers.contains_key(status), "{status} of {method} {path}");
            }
            assert_eq!(answers.contains_key("413"), operation["requestBody"].is_object(), "{method} {path}");
            for (status, answer) in answers.iter().filter(|(status, _)| !status.starts_with('2')) {
                let schema = &answer["content"]["application/problem+json"]["schema"];
                assert_eq!(*schema, problem, "{status} of {method} {path}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let format = &parameter["schema"]["format"];
                assert!(parameter["name"] != "key_id" || format == "uuid", "{path}: {parameter}");
                let size = (&parameter["schema"]["minimum"], &parameter["schema"]["maximum"]);
                assert!(parameter["name"] != "size" || size == (&json!(1), &json!(50)), "{parameter}");
            }
        }
    }
    let jwks = &document["paths"]["/api/v1/jwks"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(jwks["$ref"], "#/components/schemas/KeySet");
}

async fn every_route_needs_a_token_and_its_scope(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/A256KW").await;
    for (method, path, scope, body) in routes(&id) {
        let none = kms.client.send(method.clone(), &kms.url(&path), &[], "".into()).await.unwrap();
        assert_eq!((none.status.as_u16(), code(&none)), (401, "unauthenticated".into()), "{path}");
        assert_eq!(none.header(&header::WWW_AUTHENTICATE), "Bearer");
        let others = "openid kms:wrap kms:key:delete";
        let refused = kms.call(&kms.token(others), method.clone(), &path, body.clone()).await;
        assert_eq!((refused.status.as_u16(), code(&refused)), (403, "insufficient-scope".into()), "{path}");
        assert!(refused.header(&header::WWW_AUTHENTICATE).contains(scope), "{path}");
        let allowed = kms.call(&kms.token(scope), method.clone(), &path, body.clone()).await;
        assert!(![401, 403].contains(&allowed.status.as_u16()), "{path}: {}", allowed.text());
    }
}

/// A key of another tenant answers as one that does not exist, and nothing of it changes.
async fn foreign_ids_are_unknown_ids(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/A256KW").await;
    let before = kms.get(&format!("/api/v1/keys/{id}")).await.text();
    let random = KeyId::new(&SystemClock, &SystemRandom).to_string();
    let other = kms.issuer.token(kms.tenants[1], "kms:admin");
    for ((method, path, _, body), (_, unknown, _, _)) in routes(&id).into_iter().zip(routes(&random)) {
        if !path.contains(&id) {
            continue;
        }
        let foreign = kms.call(&other, method.clone(), &path, body.clone()).await;
        let missing = kms.call(&other, method.clone(), &unknown, body).await;
        let plain = |answer: &keyrealm_http::client::Answer| {
            let mut body = answer.json();
            let body = body.as_object_mut().unwrap();
            body.remove("request_id");
            body.remove("instance");
            (answer.status, format!("{body:?}"), answer.headers.len())
        };
        assert_eq!(foreign.status, 404, "{path}");
        assert_eq!(plain(&foreign), plain(&missing), "{path}");
    }
    assert_eq!(kms.get(&format!("/api/v1/keys/{id}")).await.text(), before);
    assert!(!kms.call(&other, Method::GET, "/api/v1/keys?size=50", None).await.text().contains(&id));
}

/// The tenant comes from the token; whatever else names one is ignored or refused (TEN-01).
async fn a_tenant_beside_the_token_has_no_effect(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "ES256").await;
    let other = kms.tenants[1].to_string();
    let bearer = format!("Bearer {}", kms.issuer.token(kms.tenants[1], "kms:admin"));
    let name = header::HeaderName::from_static("x-tenant-id");
    let headers = [(header::AUTHORIZATION, bearer.as_str()), (name, &kms.tenants[0].to_string())];
    let answer =
        kms.client.send(Method::GET, &kms.url(&format!("/api/v1/keys/{id}")), &headers, "".into()).await.unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(code(&kms.get(&format!("/api/v1/keys?tenant_id={other}")).await), "invalid-query");
    let body = json!({"name": "x", "tenant_id": other});
    assert_eq!(code(&kms.post("/api/v1/keys", body).await), "invalid-field");
    let without = kms.issuer.sign(&json!({}), &kms.issuer.claims(None, "kms:admin"));
    let answer = kms.call(&without, Method::GET, "/api/v1/keys", None).await;
    assert_eq!(code(&answer), "no-tenant");
    assert!(answer.json()["help"].as_str().unwrap().contains("credential of a tenant"), "{}", answer.text());
    let unknown = "3f0e8b52-6f0e-4d9c-9b55-0d9f1f1d2a11".parse().unwrap();
    let unknown = kms.issuer.token(unknown, "kms:admin");
    assert_eq!(code(&kms.call(&unknown, Method::GET, "/api/v1/keys", None).await), "no-tenant");
}

async fn bad_tokens_are_refused(on: On) {
    let kms = Kms::start(on).await;
    let good = kms.issuer.claims(Some(kms.tenants[0]), "kms:admin");
    let now = good["iat"].as_i64().unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        kms.issuer.sign(&json!({}), &claims)
    };
    let token = kms.token("kms:admin");
    let (input, _) = token.rsplit_once('.').unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let mut header = keyrealm_jose::json::object(&b64::decode(parts[0]).unwrap()).unwrap();
    let mut with_alg = |alg: &str, signature: &dyn Fn(&str) -> String| {
        header.insert("alg".into(), alg.into());
        let input = format!("{}.{}", b64::encode(Value::Object(header.clone()).to_string()), parts[1]);
        format!("{input}.{}", signature(&input))
    };
    let jwks = kms.client.get(&kms.issuer.jwks_url).await.unwrap().body.to_vec();
    let hmac = |input: &str| b64::encode(hmac_sha256(&SecretBytes::new(jwks.clone()), &[input.as_bytes()]));
    let stranger = Kms::start(on).await;
    let bad = [
        with("exp", json!(now)),
        with("exp", Value::Null),
        with("nbf", json!(now + 60)),
        with("aud", json!("https://other.test")),
        with("iss", json!("https://evil.test")),
        with("tenant_id", json!("not-a-tenant")),
        with("sub", Value::Null),
        kms.issuer.sign(&json!({"typ": "JWT"}), &good),
        kms.issuer.sign(&json!({"typ": "logout+jwt"}), &good),
        kms.issuer.sign(&json!({"kid": "unknown"}), &good),
        kms.issuer.sign(&json!({"crit": ["x"]}), &good),
        with_alg("none", &|_| String::new()),
        with_alg("HS256", &hmac),
        with_alg("RS256", &|_| parts[2].to_owned()),
        stranger.token("kms:admin"),
        format!("{input}.{}", b64::encode([1; 64])),
        format!("{token}="),
        "rubbish".to_owned(),
        "x".repeat(20_000),
    ];
    for (at, token) in bad.iter().enumerate() {
        let answer = kms.call(token, Method::GET, "/api/v1/keys", None).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (401, "invalid-token".into()), "{at}");
        assert!(answer.header(&header::WWW_AUTHENTICATE).contains("invalid_token"), "{at}");
        assert!(token.len() < 10 || !answer.text().contains(token.as_str()), "{at}: the token is not repeated");
    }
    assert_eq!(kms.call(&token, Method::GET, "/api/v1/keys", None).await.status, 200);
    kms.clock.advance(Duration::from_secs(601));
    assert_eq!(
        code(&kms.call(&token, Method::GET, "/api/v1/keys", None).await),
        "invalid-token",
        "remembered tokens end, too"
    );
}

/// Random `kid`s reach the issuer once in a while only, and a down issuer is survived by the keys at hand.
async fn the_key_set_is_read_seldom(on: On) {
    let kms = Kms::start(on).await;
    let claims = kms.issuer.claims(Some(kms.tenants[0]), "kms:admin");
    let mut set = tokio::task::JoinSet::new();
    for n in 0..50 {
        let token = kms.issuer.sign(&json!({"kid": format!("random-{n}")}), &claims);
        let (client, url) = (kms.client.clone(), kms.url("/api/v1/keys"));
        set.spawn(async move {
            let bearer = format!("Bearer {token}");
            client.send(Method::GET, &url, &[(header::AUTHORIZATION, &bearer)], "".into()).await.unwrap().status
        });
    }
    assert!(set.join_all().await.iter().all(|status| *status == 401));
    assert_eq!(kms.issuer.reads.load(std::sync::atomic::Ordering::SeqCst), 1);
    kms.issuer.set_down(true);
    kms.clock.advance(Duration::from_secs(400));
    let fresh = kms.token("kms:admin");
    // The revocations are read anew within seconds; until then nobody is let in, which is no matter of the keys.
    let began = Instant::now();
    loop {
        let answer = kms.call(&fresh, Method::GET, "/api/v1/keys", None).await;
        if answer.status == 200 {
            break;
        }
        assert_eq!(code(&answer), "issuer-unavailable");
        assert!(began.elapsed() < Duration::from_secs(15), "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn bad_bodies_say_what_is_wrong(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "ES256").await;
    let bearer = format!("Bearer {}", kms.token("kms:admin"));
    let send = async |content_type: &str, body: Vec<u8>| {
        let headers = [(header::AUTHORIZATION, bearer.as_str()), (header::CONTENT_TYPE, content_type)];
        kms.client.send(Method::POST, &kms.url("/api/v1/keys"), &headers, body.into()).await.unwrap()
    };
    let json = "application/json";
    for (content_type, body, expected) in [
        ("text/plain", b"{}".to_vec(), "unsupported-media-type"),
        (json, b"{".to_vec(), "invalid-json"),
        (json, b"{\"name\":\"a\",\"name\":\"b\"}".to_vec(), "invalid-json"),
        (json, vec![b'['; 100_000], "invalid-json"),
        (json, b"\xff\xfe".to_vec(), "invalid-json"),
        (json, b"[]".to_vec(), "invalid-field"),
        (json, b"{\"name\":7}".to_vec(), "invalid-field"),
        (json, b"{\"nome\":\"x\"}".to_vec(), "invalid-field"),
        (json, b"{\"name\":\"a b\"}".to_vec(), "invalid-field"),
        (json, b"{\"name\":\"x\",\"algorithm\":\"RSA1_5\"}".to_vec(), "algorithm-not-allowed"),
        (json, vec![b' '; 2 * 1024 * 1024 + 1], "payload-too-large"),
    ] {
        let answer = send(content_type, body).await;
        assert_eq!(code(&answer), expected);
        let problem = answer.json();
        assert_eq!(answer.header(&header::CONTENT_TYPE), "application/problem+json");
        for member in ["title", "status", "instance", "request_id"] {
            assert!(!problem[member].is_null(), "{member} of {expected}");
        }
        assert!(problem["help"].as_str().unwrap().len() > 20, "how to mend {expected}");
    }
    // Whatever it is, it says how to mend it.
    for (answer, expected) in [
        (kms.post(&format!("/api/v1/keys/{id}/verify"), json!({"signature": "x"})).await, "same `context`"),
        (kms.get("/nowhere").await, "Check the id"),
        (kms.call(&kms.token("kms:admin"), Method::PUT, "/api/v1/keys", None).await, "`Allow` lists"),
        (send(json, vec![b' '; 2 * 1024 * 1024 + 1]).await, "at most 2 MiB"),
        (kms.call("", Method::GET, "/api/v1/keys", None).await, "access token"),
    ] {
        assert!(answer.json()["help"].as_str().unwrap().contains(expected), "{}", answer.text());
    }
    for operation in ["rotate", "disable", "enable"] {
        let path = format!("/api/v1/keys/{id}/{operation}");
        assert_eq!(code(&kms.post(&path, json!({"force": true})).await), "invalid-field", "{operation}");
        assert_eq!(code(&kms.post(&path, json!([])).await), "invalid-json", "{operation}");
    }
    assert_eq!(kms.get(&format!("/api/v1/keys/{id}")).await.json()["latest_version"], 1, "nothing was done");
    let many = format!("/api/v1/keys?{}", "sort[]=name&".repeat(500).trim_end_matches('&'));
    for sort in [many.as_str(), "/api/v1/keys?sort[]=name&sort[]=state&sort[]=name:DESC"] {
        let answer = kms.get(sort).await;
        assert_eq!(code(&answer), "invalid-query");
        assert!(answer.json()["detail"].as_str().unwrap().contains("the field name twice"), "{}", answer.text());
    }
    let all = ["name", "algorithm", "state", "created_at", "updated_at"].map(|name| format!("sort[]={name}:DESC"));
    assert_eq!(kms.get(&format!("/api/v1/keys?{}", all.join("&"))).await.status, 200);
    for bad in ["x", "3f0e8b52-6f0e-4d9c-9b55-0d9f1f1d2a11", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(code(&kms.get(&format!("/api/v1/keys/{bad}")).await), "invalid-id", "{bad}");
    }
    assert_eq!(code(&kms.post(&format!("/api/v1/keys/{id}/sign"), json!({"payload": "a+b="})).await), "invalid-field");
    assert_eq!(
        code(&kms.post(&format!("/api/v1/keys/{id}/sign"), json!({"payload": "", "context": ""})).await),
        "invalid-context"
    );
    assert_eq!(code(&kms.get("/nowhere").await), "not-found");
    let wrong = kms.call(&kms.token("kms:admin"), Method::DELETE, "/api/v1/keys", None).await;
    assert_eq!((wrong.status.as_u16(), code(&wrong)), (405, "method-not-allowed".into()));
    assert!(wrong.header(&header::ALLOW).contains("GET"));
    assert!(kms.client.get(&kms.url("/problems/key-state")).await.unwrap().text().contains("enable the key"));
}

/// The other listeners: one demands a certificate, one answers probes without.
async fn listeners_differ_in_whom_they_let_in(on: On) {
    let kms = Kms::start(on).await;
    let addresses = kms.running.as_ref().unwrap().addresses();
    let url = |port: u16, path: &str| format!("https://localhost:{port}{path}").parse().unwrap();
    let (plain, certified) = (kms.tls.client(), kms.tls.client_with_certificate());
    assert!(plain.get(&url(addresses.mtls.port(), "/api/v1/keys")).await.is_err());
    assert_eq!(certified.get(&url(addresses.mtls.port(), "/api/v1/keys")).await.unwrap().status, 401);
    let admin = addresses.admin.port();
    for probe in ["/livez", "/readyz", "/startupz", "/admin/v1/livez", "/admin/v1/readyz"] {
        let answer = plain.get(&url(admin, probe)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{probe}");
    }
    let other = plain.get(&url(admin, "/other")).await.unwrap();
    assert_eq!((other.status.as_u16(), code(&other)), (401, "unauthenticated".into()));
    assert!(other.json()["help"].as_str().unwrap().contains("client certificate"), "{}", other.text());
    assert_eq!(certified.get(&url(admin, "/other")).await.unwrap().status, 404);
    assert_eq!(certified.get(&url(admin, "/readyz")).await.unwrap().json()["ready"], true);
}

on_each_database!(
    every_route_needs_a_token_and_its_scope,
    foreign_ids_are_unknown_ids,
    a_tenant_beside_the_token_has_no_effect,
    bad_tokens_are_refused,
    the_key_set_is_read_seldom,
    bad_bodies_say_what_is_wrong,
    listeners_differ_in_whom_they_let_in,
);
