//! Edits as people might make them: whatever the definitions allow.

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Value, json};

pub(super) const TENANTS: usize = 4;
pub(super) const KINDS: [&str; 3] = ["keys", "clients", "users"];

/// Kind and name of an entry.
pub(super) type Place = (&'static str, String);

/// One edit.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// An entry is there from now on, and is so.
    Put(Place, Value),
    /// One of the entries is taken out.
    Remove(Index),
    /// Two clients take each other's ids.
    Exchange(Index, Index),
    /// A new secret for one of the clients whose secret is generated.
    Rotate(Index),
    /// The tenant's own fields.
    Tenant(&'static str, Value),
    /// A field of the Realm; null takes it out.
    Realm(&'static str, Value),
}

/// Some edits in a row, each with the number of its tenant.
pub(super) fn burst() -> impl Strategy<Value = Vec<(usize, Edit)>> {
    let edit = prop_oneof![
        8 => key(),
        10 => client(),
        8 => user(),
        9 => any::<Index>().prop_map(Edit::Remove),
        3 => any::<(Index, Index)>().prop_map(|(a, b)| Edit::Exchange(a, b)),
        4 => any::<Index>().prop_map(Edit::Rotate),
        2 => tenant(),
        2 => realm(),
    ];
    prop::collection::vec((0..TENANTS, edit), 1..32)
}

/// For people: letters of all scripts, marks and emoji.
fn text(least: usize, most: usize) -> BoxedStrategy<String> {
    let of = move |range: &str| prop::string::string_regex(&format!("{range}{{{least},{most}}}")).unwrap();
    let short = prop::string::string_regex(&format!("[ -~]{{{least},12}}")).unwrap();
    prop_oneof![3 => short, 1 => of("[ -~]"), 1 => of(r"\PC")].boxed()
}

fn removal() -> impl Strategy<Value = &'static str> {
    select(vec!["orphan", "disable", "delete"])
}

/// A key is made for one algorithm: the name tells which.
fn key() -> impl Strategy<Value = Edit> {
    let names = vec![
        ("seal", "A256GCM/dir"),
        ("Wrap_1.a", "A256GCM/A256KW"),
        ("sign", "ES256"),
        ("0", "EdDSA"),
        ("rsa-with-a-name-that-is-as-long-as-the-definition-allows-it-63-", "RS256"),
    ];
    let names = names.into_iter().map(|(name, algorithm)| (&name[..name.len().min(63)], algorithm)).collect::<Vec<_>>();
    (select(names), text(0, 255), select(vec!["orphan", "disable"])).prop_map(|((name, algorithm), text, removal)| {
        let key = json!({"name": name, "algorithm": algorithm, "description": text, "onRemove": removal});
        Edit::Put(("keys", name.to_owned()), key)
    })
}

fn uris(least: usize) -> impl Strategy<Value = Vec<String>> {
    let uri = prop_oneof![
        r#"https://[A-Za-z][A-Za-z0-9_-]{0,12}\.[a-z]{2,6}(:[1-9][0-9]{0,3})?([/?][!-"$-Z^-~]{0,40})?"#,
        r#"http://(localhost|127\.0\.0\.1|\[::1\])(:[1-9][0-9]{3})?([/?][!-"$-Z^-~]{0,40})?"#,
    ];
    prop::collection::btree_set(uri, least..5).prop_map(|all| all.into_iter().collect())
}

fn client() -> impl Strategy<Value = Edit> {
    let id = prop_oneof![2 => Just(Value::Null), 2 => (0..2).prop_map(|n| json!(format!("own-{n}"))),
        3 => (0..3).prop_map(|n| json!(format!("shared-{n}")))];
    let secret = prop_oneof![
        4 => Just(Value::Null),
        2 => select(vec!["0s", "24h", "1h30m", "720h"]).prop_map(|overlap| json!({"overlap": overlap})),
        2 => (select(vec!["one", "two"]), select(vec!["0s", "24h"]))
            .prop_map(|(key, overlap)| json!({"secretRef": {"name": "own", "key": key}, "overlap": overlap})),
    ];
    let names = vec!["app", "0", "back-end", "web", "a-name-of-fifty-characters-which-is-the-most-0-0-0"];
    let grants = vec!["authorization_code", "refresh_token", "client_credentials"];
    let own = (select(names), prop::bool::weighted(0.25), id, secret, text(0, 100), removal());
    let rest = (uris(1), uris(0), subsequence(grants, 1..=3), subsequence(crds::SCOPES, 1..=12), any::<(bool, bool)>());
    (own, rest).prop_map(
        |((name, public, id, secret, text, removal), (redirects, logouts, mut grants, scopes, (if_sent, enabled)))| {
            if public {
                grants.retain(|grant| *grant != "client_credentials");
                if grants.is_empty() {
                    grants.push("authorization_code");
                }
            }
            let mut client = json!({
                "name": name, "type": if public { "public" } else { "confidential" }, "displayName": text, "grants": grants,
                "scopes": scopes, "redirectUris": redirects, "postLogoutRedirectUris": logouts, "enabled": enabled,
                "pkce": if if_sent && !public { "ifSent" } else { "required" }, "onRemove": removal,
            });
            if !id.is_null() {
                client["clientId"] = id;
            }
            if !secret.is_null() && !public {
                client["secret"] = secret;
            }
            Edit::Put(("clients", name.to_owned()), client)
        },
    )
}

fn user() -> impl Strategy<Value = Edit> {
    let long = "\u{e9}".repeat(100);
    let names = vec!["alice", "B.ob", "o'neil\"x;--", "%00\\", "\u{fc}n\u{ef}-\u{4e2d}\u{6587}", &long];
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let email = prop_oneof![Just(String::new()), "[a-z0-9.+%\u{e4}-]{1,20}@[a-z0-9.-]{1,20}"];
    let password = prop_oneof![5 => select(vec!["one", "two"]).prop_map(|key| json!({"name": "hashes", "key": key})),
            1 => Just(json!({"name": "people", "key": "alice"}))];
    let roles = subsequence(vec!["admin", "tenant-admin", "user", "service"], 0..=4);
    (select(names), email, text(0, 100), password, roles, any::<bool>(), removal()).prop_map(
        |(name, email, text, password, roles, enabled, removal)| {
            let user = json!({
                "name": name, "email": email, "displayName": text, "passwordSecretRef": password, "roles": roles,
                "enabled": enabled, "onRemove": removal,
            });
            Edit::Put(("users", name), user)
        },
    )
}

fn tenant() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => text(1, 100).prop_map(|text| Edit::Tenant("displayName", json!(text))),
        1 => Just(Edit::Tenant("displayName", Value::Null)),
        1 => select(vec!["Retain", "Archive", "Delete"]).prop_map(|policy| Edit::Tenant("deletionPolicy", json!(policy))),
    ]
}

fn realm() -> impl Strategy<Value = Edit> {
    let of = |field: &'static str, values: Vec<Value>| select(values).prop_map(move |value| Edit::Realm(field, value));
    let labels = json!({"matchLabels": {"team": "one", "example.com/kind": ""}});
    let amounts = json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "1Gi"}});
    let replicas = || vec![json!(1), json!(2), Value::Null];
    let resources = || vec![amounts.clone(), json!({}), Value::Null];
    prop_oneof![
        of("/profile", vec![json!("dev"), json!("demo"), json!("ci"), json!("prod")]),
        of("/kms/replicas", replicas()),
        of("/identity/replicas", replicas()),
        of("/kms/resources", resources()),
        of("/identity/resources", resources()),
        of("/kms/image", vec![json!("registry.example.com/kms:2"), Value::Null]),
        of("/networkPolicy/enabled", vec![json!(true), json!(false)]),
        of("/networkPolicy/clients", vec![labels.clone(), json!({}), Value::Null]),
        of("/allowedTenants/namespaceSelector", vec![labels.clone(), json!({}), Value::Null]),
        of("/deletionPolicy", vec![json!("Retain"), json!("Delete")]),
        of("/tls/leafLifetime", vec![json!("2160h"), json!("9552h"), json!("1440h30m")]),
        of("/tls/renewBefore", vec![json!("720h"), json!("1m"), json!("1h1m1s")]),
        (1..=86_400).prop_map(|seconds| Edit::Realm("/tokens/accessSeconds", json!(seconds))),
        (1..=60).prop_map(|seconds| Edit::Realm("/tokens/codeSeconds", json!(seconds))),
        (1..=2_592_000).prop_map(|seconds| Edit::Realm("/tokens/idleSeconds", json!(seconds))),
    ]
}
