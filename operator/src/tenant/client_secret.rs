//! The Secret of a client whose secret is generated: its marks, and how it is written.
//!
//! The marks hold hashes, so that the Secret itself has to be read only after somebody touched it. The Secret leads and the
//! row of the registry follows. What becomes of it:
//!
//! - edited by a foreign hand: replaced by a new secret; the one that was declared is valid until the overlap ends,
//! - deleted: made again with a new secret; the old one ends at once (so it is taken back in a hurry),
//! - a new value in the annotation `keyrealm.dev/rotate`: a new secret; the old one is valid until the overlap ends.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use crds::Tenant;
use k8s_openapi::api::core::v1::Secret;
use keyrealm_base::{Random, Timestamp};
use keyrealm_crypto::{SecretBytes, sha256_hex};
use serde_json::json;

use super::observed::Generated;
use super::plan::uid;
use crate::child::{Child, ChildKind, ChildRef, Ownership, Seen};

/// The label that names the client of a Secret.
pub(super) const CLIENT_LABEL: &str = "keyrealm.dev/client";
const SHA256: &str = "keyrealm.dev/secret-sha256";
const FORMER_SHA256: &str = "keyrealm.dev/former-sha256";
const FORMER_UNTIL: &str = "keyrealm.dev/former-until";
const CLIENT_ID: &str = "keyrealm.dev/client-id";
const ROTATED: &str = "keyrealm.dev/rotated";
/// 32 bytes in base64url.
const LENGTH: usize = 43;

/// The Secret of a client.
#[must_use]
pub(super) fn place(tenant: &Tenant, client: &str) -> ChildRef {
    let namespace = tenant.metadata.namespace.as_deref().unwrap_or_default();
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    ChildRef::new(ChildKind::Secret, namespace, format!("{name}-client-{client}"))
}

/// Whose it is: Kubernetes deletes it with the Tenant.
#[must_use]
pub(super) fn ownership(tenant: &Tenant) -> Ownership {
    Ownership::Controller {
        api_version: "keyrealm.dev/v1alpha1",
        kind: "Tenant",
        name: tenant.metadata.name.clone().unwrap_or_default(),
        uid: uid(tenant).to_owned(),
    }
}

/// What the marks say; whether the content fits them is for the caller.
#[must_use]
pub(super) fn marks(seen: &Seen, intact: bool) -> Generated {
    let mark = |name: &str| seen.annotations.get(name).cloned().unwrap_or_default();
    let until = Timestamp::parse(&mark(FORMER_UNTIL)).ok();
    Generated {
        sha256: mark(SHA256),
        former: until.map(|until| (mark(FORMER_SHA256), until)).filter(|(hash, _)| !hash.is_empty()),
        client_id: mark(CLIENT_ID),
        rotated: mark(ROTATED),
        rotate: mark(crds::ROTATE),
        intact,
    }
}

fn entry(secret: &Secret, key: &str) -> Option<SecretBytes> {
    secret.data.as_ref()?.get(key).map(|value| SecretBytes::copy_of(&value.0))
}

/// Whether the Secret holds what its marks say, and nothing of lesser strength than what is generated.
#[must_use]
pub(super) fn is_intact(secret: &Secret, marks: &Generated) -> bool {
    let hash = |key: &str| entry(secret, key).map(|value| sha256_hex(value.expose()));
    let id = entry(secret, "client_id").is_some_and(|id| id.expose() == marks.client_id.as_bytes());
    let long = entry(secret, "client_secret").is_some_and(|value| value.expose().len() == LENGTH);
    let former = match (&marks.former, hash("client_secret_previous")) {
        (Some((former, _)), Some(found)) => *former == found,
        // One that was replaced after an edit is valid without being known.
        (Some(_), None) | (None, None) => true,
        (None, Some(_)) => false,
    };
    id && long && former && hash("client_secret") == Some(marks.sha256.clone())
}

/// What a Secret shall hold.
pub(super) struct Content {
    secret: SecretBytes,
    former: Option<Former>,
    rotated: String,
}

/// The former secret: its hash and end, and itself where it is known.
struct Former {
    sha256: String,
    until: Timestamp,
    secret: Option<SecretBytes>,
}

impl Content {
    /// A new secret.
    #[must_use]
    pub(super) fn new(random: &dyn Random, rotated: &str) -> Self {
        let secret = SecretBytes::random(32, random);
        let secret = SecretBytes::new(URL_SAFE_NO_PAD.encode(secret.expose()).into_bytes());
        Self { secret, former: None, rotated: rotated.to_owned() }
    }

    /// A new secret beside the one that was declared, which ends at `until`.
    #[must_use]
    pub(super) fn rotated(
        random: &dyn Random,
        found: &Secret,
        marks: &Generated,
        declared: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Self {
        let secret = entry(found, "client_secret").filter(|value| sha256_hex(value.expose()) == declared);
        let former = Former { sha256: declared.to_owned(), until, secret };
        let former = Some(former).filter(|former| former.until > now && !former.sha256.is_empty());
        Self { former, ..Self::new(random, &marks.rotate) }
    }

    /// The same secret, without a former one that has ended; `None` when there is none to keep.
    #[must_use]
    pub(super) fn refreshed(found: &Secret, marks: &Generated, now: Timestamp) -> Option<Self> {
        let secret = entry(found, "client_secret").filter(|value| sha256_hex(value.expose()) == marks.sha256)?;
        let former = marks.former.clone().filter(|(_, until)| *until > now).map(|(sha256, until)| {
            let secret = entry(found, "client_secret_previous").filter(|value| sha256_hex(value.expose()) == sha256);
            Former { sha256, until, secret }
        });
        Some(Self { secret, former, rotated: marks.rotated.clone() })
    }

    /// The object.
    #[must_use]
    pub(super) fn child(&self, tenant: &Tenant, client: &str, client_id: &str) -> Child {
        let mut data = json!({
            "client_id": STANDARD.encode(client_id),
            "client_secret": STANDARD.encode(self.secret.expose()),
        });
        let mut annotations = BTreeMap::from([
            (SHA256.to_owned(), sha256_hex(self.secret.expose())),
            (CLIENT_ID.to_owned(), client_id.to_owned()),
            (ROTATED.to_owned(), self.rotated.clone()),
        ]);
        if let Some(former) = &self.former {
            annotations.insert(FORMER_SHA256.to_owned(), former.sha256.clone());
            annotations.insert(FORMER_UNTIL.to_owned(), former.until.to_string());
            if let (Some(secret), Some(data)) = (&former.secret, data.as_object_mut()) {
                data.insert("client_secret_previous".to_owned(), json!(STANDARD.encode(secret.expose())));
            }
        }
        Child {
            at: place(tenant, client),
            ownership: ownership(tenant),
            labels: BTreeMap::from([
                (crds::TENANT_LABEL.to_owned(), tenant.metadata.name.clone().unwrap_or_default()),
                (CLIENT_LABEL.to_owned(), client.to_owned()),
            ]),
            annotations,
            body: json!({"type": "Opaque", "data": data}),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyrealm_crypto::SystemRandom;

    use super::*;

    fn tenant() -> Tenant {
        let mut tenant = Tenant::new("acme", serde_json::from_value(json!({"realmRef": {"name": "main"}})).unwrap());
        tenant.metadata.namespace = Some("team".to_owned());
        tenant.metadata.uid = Some("uid".to_owned());
        tenant
    }

    /// As the API server would keep it.
    fn stored(child: &Child) -> (Secret, Seen) {
        let secret = serde_json::from_value(child.body.clone()).unwrap();
        (secret, Seen { annotations: child.annotations.clone(), ..Seen::default() })
    }

    fn text(secret: &Secret, key: &str) -> String {
        String::from_utf8(entry(secret, key).unwrap().expose().to_vec()).unwrap()
    }

    #[test]
    fn a_secret_is_rotated_and_its_former_one_ends() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let until = now.plus(Duration::from_mins(1));
        let child = Content::new(&SystemRandom, "").child(&tenant(), "app", "acme.app");
        assert_eq!(child.at.to_string(), "Secret team/acme-client-app");
        let (first, seen) = stored(&child);
        let own = marks(&seen, true);
        assert!(is_intact(&first, &own) && text(&first, "client_secret").len() == LENGTH);
        assert_eq!((own.client_id.as_str(), &own.former), ("acme.app", &None));

        let asked = Generated { rotate: "now".to_owned(), ..own.clone() };
        let content = Content::rotated(&SystemRandom, &first, &asked, &own.sha256, until, now);
        let (second, seen) = stored(&content.child(&tenant(), "app", "acme.app"));
        let rotated = marks(&seen, true);
        assert!(is_intact(&second, &rotated) && rotated.sha256 != own.sha256 && rotated.rotated == "now");
        assert_eq!(rotated.former, Some((own.sha256.clone(), until)));
        assert_eq!(text(&second, "client_secret_previous"), text(&first, "client_secret"));

        let kept = Content::refreshed(&second, &rotated, now).unwrap().child(&tenant(), "app", "acme.other");
        let (kept, seen) = stored(&kept);
        assert_eq!(
            (text(&kept, "client_id").as_str(), marks(&seen, true).former),
            ("acme.other", rotated.former.clone())
        );
        let ended = Content::refreshed(&second, &rotated, until).unwrap().child(&tenant(), "app", "acme.app");
        let (ended, seen) = stored(&ended);
        assert!(marks(&seen, true).former.is_none() && entry(&ended, "client_secret_previous").is_none());
        assert_eq!(text(&ended, "client_secret"), text(&second, "client_secret"));
        let at_once = Content::rotated(&SystemRandom, &first, &asked, &own.sha256, now, now);
        assert!(at_once.former.is_none(), "without overlap the former one is not kept");
    }

    #[test]
    fn an_edit_is_seen_and_what_was_declared_stays_valid() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let until = now.plus(Duration::from_mins(1));
        let (mut edited, seen) = stored(&Content::new(&SystemRandom, "").child(&tenant(), "app", "acme.app"));
        let own = marks(&seen, true);
        let put = |secret: &mut Secret, key: &str, value: &str| {
            let value = k8s_openapi::ByteString(value.as_bytes().to_vec());
            secret.data.get_or_insert_default().insert(key.to_owned(), value);
        };
        put(&mut edited, "client_secret", "mine");
        assert!(!is_intact(&edited, &own));
        let marked = Generated { sha256: sha256_hex(b"mine"), ..own.clone() };
        assert!(!is_intact(&edited, &marked), "a weak one is refused even with a mark that fits");
        assert!(Content::refreshed(&edited, &own, now).is_none());
        let mended = Content::rotated(&SystemRandom, &edited, &own, &own.sha256, until, now);
        let (mended, seen) = stored(&mended.child(&tenant(), "app", "acme.app"));
        let after = marks(&seen, true);
        assert_eq!(after.former, Some((own.sha256.clone(), until)));
        assert!(is_intact(&mended, &after) && entry(&mended, "client_secret_previous").is_none());
        for (key, value) in [("client_id", "x"), ("client_secret_previous", "x")] {
            let (mut secret, _) = stored(&Content::new(&SystemRandom, "").child(&tenant(), "app", "acme.app"));
            put(&mut secret, key, value);
            assert!(!is_intact(&secret, &own), "{key}");
        }
    }
}
