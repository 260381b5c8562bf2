//! What a DemoEnvironment expands into: one Realm, its Tenants, and the Secret with what one logs in with. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crds::{DEMO_LABEL, DemoEndpoints, DemoEnvironment, Hostnames, SeedSet};
use keyrealm_registry::seed::{DemoCredentials, KEYS, LOGGED_OUT_URI, REDIRECT_URI, SeedClient, SeedTenant, SeedUser};
use serde_json::{Map, Value, json};

use crate::child::{Child, ChildKind, ChildRef, Ownership};

/// On Tenants and the credentials Secret: the reset token that they were made under.
pub(super) const RESET_TOKEN: &str = "keyrealm.dev/reset-token";
/// On the credentials Secret: for how many tenants it has users and clients.
pub(super) const COVERS: &str = "keyrealm.dev/demo-tenants";
/// On Secrets that others refer to: their changes are noticed at once.
const WATCH: &str = "keyrealm.dev/watch";

/// A DemoEnvironment's names and what they stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expansion<'a> {
    pub(super) demo: &'a DemoEnvironment,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(demo: &'a DemoEnvironment) -> Self {
        Self {
            demo,
            namespace: demo.metadata.namespace.as_deref().unwrap_or_default(),
            name: demo.metadata.name.as_deref().unwrap_or_default(),
            uid: demo.metadata.uid.as_deref().unwrap_or_default(),
        }
    }

    /// How many tenants there shall be.
    pub(super) fn tenants(&self) -> usize {
        usize::try_from(self.demo.spec.tenants).unwrap_or_default().min(20)
    }

    /// Whether the tenants hold anything.
    pub(super) fn is_seeded(&self) -> bool {
        self.demo.spec.seed == SeedSet::Demo
    }

    pub(super) fn realm_at(&self) -> ChildRef {
        ChildRef::new(ChildKind::Realm, self.namespace, self.name)
    }

    pub(super) fn tenant_at(&self, number: usize) -> ChildRef {
        ChildRef::new(ChildKind::Tenant, self.namespace, format!("{}-{number}", self.name))
    }

    pub(super) fn credentials_at(&self) -> ChildRef {
        ChildRef::new(ChildKind::Secret, self.namespace, format!("{}-demo-credentials", self.name))
    }

    pub(super) fn ownership(&self) -> Ownership {
        Ownership::Controller {
            api_version: "keyrealm.dev/v1alpha1",
            kind: "DemoEnvironment",
            name: self.name.to_owned(),
            uid: self.uid.to_owned(),
        }
    }

    fn hostnames(&self) -> Hostnames {
        self.demo.spec.realm.hostnames.clone().unwrap_or_else(|| Hostnames {
            kms: format!("kms.{}.localhost:8081", self.name),
            identity: format!("id.{}.localhost:8082", self.name),
        })
    }

    pub(super) fn endpoints(&self) -> DemoEndpoints {
        let hostnames = self.hostnames();
        DemoEndpoints {
            issuer: format!("https://{}", hostnames.identity),
            kms: format!("https://{}", hostnames.kms),
            trust_bundle: format!("{}-trust-bundle", self.name),
            identity_service: format!("{}-identity", self.name),
            kms_service: format!("{}-kms", self.name),
        }
    }

    fn child(&self, at: ChildRef, annotations: BTreeMap<String, String>, body: Value) -> Child {
        let labels = BTreeMap::from([(DEMO_LABEL.to_owned(), self.name.to_owned())]);
        Child { at, ownership: self.ownership(), labels, annotations, body }
    }

    /// The Realm. What the DemoEnvironment leaves out is left out here too: the Realm's defaults hold.
    pub(super) fn realm(&self) -> Result<Child, serde_json::Error> {
        let given = serde_json::to_value(&self.demo.spec.realm)?;
        let mut spec = Map::new();
        spec.insert("profile".to_owned(), json!("demo"));
        spec.insert("database".to_owned(), json!({"managed": {}}));
        // Nothing of a demonstration stays.
        spec.insert("deletionPolicy".to_owned(), json!("Delete"));
        if let Value::Object(given) = given {
            spec.extend(given);
        }
        spec.insert("hostnames".to_owned(), serde_json::to_value(self.hostnames())?);
        Ok(self.child(self.realm_at(), BTreeMap::new(), json!({"spec": spec})))
    }

    /// The Tenant of this number, made under this reset token.
    pub(super) fn tenant(&self, number: usize, reset: &str) -> Child {
        let seed = SeedTenant::number(number);
        let mut spec = json!({
            "realmRef": {"name": self.name},
            "slug": seed.slug,
            "displayName": seed.display_name,
            "deletionPolicy": "Delete",
        });
        if let (true, Some(spec)) = (self.is_seeded(), spec.as_object_mut()) {
            let keys = KEYS
                .iter()
                .map(|key| json!({"name": key.name, "algorithm": key.algorithm, "description": key.description}));
            spec.insert("keys".to_owned(), keys.collect());
            spec.insert("clients".to_owned(), seed.clients.iter().map(|row| self.client(row)).collect());
            spec.insert("users".to_owned(), seed.users.iter().map(|row| self.user(row)).collect());
        }
        self.child(self.tenant_at(number), annotation(RESET_TOKEN, reset), json!({"spec": spec}))
    }

    fn client(&self, row: &SeedClient) -> Value {
        let mut client = json!({
            "name": row.name,
            "displayName": row.display_name,
            "type": if row.public { "public" } else { "confidential" },
            "grants": row.grants,
            "scopes": row.scopes.split(' ').collect::<Vec<_>>(),
            "onRemove": "delete",
        });
        if let Some(client) = client.as_object_mut() {
            if row.client_id == row.name {
                client.insert("clientId".to_owned(), json!(row.client_id));
            }
            if row.has_log_in() {
                client.insert("redirectUris".to_owned(), json!([REDIRECT_URI]));
                client.insert("postLogoutRedirectUris".to_owned(), json!([LOGGED_OUT_URI]));
            }
            if !row.public {
                let secret = json!({"name": self.credentials_at().name, "key": secret_key(&row.client_id)});
                client.insert("secret".to_owned(), json!({"secretRef": secret}));
            }
        }
        client
    }

    fn user(&self, row: &SeedUser) -> Value {
        json!({
            "name": row.name,
            "email": row.email(),
            "displayName": row.display_name(),
            "passwordSecretRef": {"name": self.credentials_at().name, "key": password_key(&row.name)},
            "roles": [row.role],
            "onRemove": "delete",
        })
    }

    /// The Secret: `credentials.json` for the demo, and each password and client secret under a key of its own for the
    /// Tenants.
    pub(super) fn credentials(&self, reset: &str, credentials: &DemoCredentials) -> Result<Child, serde_json::Error> {
        let mut data = BTreeMap::from([(CREDENTIALS.to_owned(), serde_json::to_string_pretty(credentials)?)]);
        data.extend(credentials.users.iter().map(|user| (password_key(&user.username), user.password.clone())));
        let secrets = credentials.clients.iter().filter(|client| !client.secret.is_empty());
        data.extend(secrets.map(|client| (secret_key(&client.client_id), client.secret.clone())));
        let data: BTreeMap<_, _> = data.into_iter().map(|(key, text)| (key, STANDARD.encode(text))).collect();
        let mut annotations = annotation(RESET_TOKEN, reset);
        annotations.insert(COVERS.to_owned(), self.tenants().to_string());
        let mut child = self.child(self.credentials_at(), annotations, json!({"type": "Opaque", "data": data}));
        child.labels.insert(WATCH.to_owned(), "true".to_owned());
        Ok(child)
    }
}

/// The key with everything in it.
pub(super) const CREDENTIALS: &str = "credentials.json";

fn password_key(user: &str) -> String {
    format!("password-{user}")
}

fn secret_key(client_id: &str) -> String {
    format!("client-{client_id}")
}

fn annotation(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
