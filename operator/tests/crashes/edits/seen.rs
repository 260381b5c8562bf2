//! What is in the database and in the clients' Secrets, and whether it is what it must be.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use keyrealm_crypto::sha256_hex;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::Value;

use super::draw::Place;
use super::model::{Object, Tenant, source};
use crate::world::World;

/// What there is of a tenant.
#[derive(Default)]
pub(super) struct Seen {
    /// Keys, clients and users in the servers' tables.
    objects: BTreeMap<Place, Value>,
    /// What is declared, in the form of the registry, without what was taken out.
    declared: BTreeMap<Place, Value>,
    /// Of the clients' Secrets: the secret and the former one.
    secrets: BTreeMap<String, [Option<String>; 2]>,
    /// Client ids that log-ins find.
    ids: BTreeSet<String>,
    /// Clients whose rotation was asked for and is not done.
    asked: BTreeSet<String>,
}

const fn kind(name: &str) -> &'static str {
    match name.as_bytes() {
        b"key" => "keys",
        b"client" => "clients",
        _ => "users",
    }
}

impl Seen {
    pub(super) async fn of(world: &World, tenant: &str) -> Self {
        let id = world.tenant_id(tenant).await;
        let hex = id.replace('-', "");
        let rows = |of: &str| format!("(SELECT coalesce(json_agg(t), '[]'::json) FROM {of} t)");
        let query = format!(
            "SELECT json_build_object('keys', {}, 'clients', {}, 'users', {}, 'desired', {}, 'ids', {})::text",
            rows(&format!("(SELECT id, name, description, algorithm, state, managed_by FROM kms_{hex}.keys)")),
            rows(&format!("identity_{hex}.clients")),
            rows(&format!("(SELECT id, username AS name, spec FROM identity_{hex}.users)")),
            rows(&format!("(SELECT * FROM keyrealm.desired WHERE tenant = '{id}')")),
            rows(&format!("(SELECT client_id FROM identity_realm.client_ids WHERE tenant = '{id}')")),
        );
        let all: Value = serde_json::from_str(&world.texts(&query).await[0]).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let ids = all["ids"].as_array().unwrap().iter().map(|row| text(row, "client_id")).collect();
        let mut seen = Self { ids, ..Self::default() };
        for of in super::draw::KINDS {
            for row in all[of].as_array().unwrap() {
                let mut row = row.clone();
                if let Some(spec) = row["spec"].as_str() {
                    row["spec"] = serde_json::from_str(spec).unwrap();
                }
                seen.objects.insert((of, text(&row, "name")), row);
            }
        }
        for row in all["desired"].as_array().unwrap() {
            let place = (kind(&text(row, "kind")), text(row, "name"));
            if row["deleted_at"].is_null() {
                seen.declared.insert(place, serde_json::from_str(&text(row, "spec")).unwrap());
            }
        }
        let ours = ListParams::default().labels(&format!("{}={tenant}", crds::TENANT_LABEL));
        for secret in world.api::<Secret>().list(&ours).await.unwrap() {
            let data = |key: &str| {
                let bytes = secret.data.as_ref()?.get(key)?;
                Some(String::from_utf8(bytes.0.clone()).unwrap())
            };
            let client = secret.name_any().replacen(&format!("{tenant}-client-"), "", 1);
            let mark = |name: &str| secret.annotations().get(name).cloned().unwrap_or_default();
            if mark(crds::ROTATE) != mark("keyrealm.dev/rotated") {
                seen.asked.insert(client.clone());
            }
            seen.secrets.insert(client, [data("client_secret"), data("client_secret_previous")]);
        }
        seen
    }

    /// Compares everything, and remembers what was seen first.
    pub(super) fn check(&self, tenant: &mut Tenant) -> Result<(), String> {
        if let Some(place) = self.objects.keys().find(|place| !tenant.objects.contains_key(*place)) {
            return Err(format!("{place:?} is there and was never declared, or was deleted"));
        }
        let mut gone = Vec::new();
        let places: Vec<Place> = tenant.objects.keys().cloned().collect();
        for place in places {
            let client_id = tenant.objects[&place].entry.as_ref().map(|entry| tenant.client_id(entry));
            let client_id = client_id.filter(|_| place.0 == "clients");
            let object = tenant.objects.get_mut(&place).unwrap();
            match self.check_one(&place, object, client_id.as_deref()) {
                Ok(true) => object.rests(client_id),
                Ok(false) => gone.push(place),
                Err(why) => {
                    return Err(format!("{place:?}: {why}\nmodel: {object:?}\nthere: {:?}", self.objects.get(&place)));
                }
            }
        }
        tenant.objects.retain(|place, _| !gone.contains(place));
        Ok(())
    }

    /// Whether it is still there.
    fn check_one(&self, place: &Place, object: &mut Object, client_id: Option<&str>) -> Result<bool, String> {
        let Some(there) = self.objects.get(place) else {
            // What came and went at once was perhaps never seen.
            let never = object.entry.is_none() && object.id.is_none();
            let may = object.entry.is_none() && object.may_be_gone();
            return if never || may { Ok(false) } else { Err("it is gone".to_owned()) };
        };
        let id = there["id"].as_str().unwrap_or_default();
        if object.id.as_deref().is_some_and(|known| known != id) && !object.may_be_gone() {
            return Err(format!("it has another id, {id}"));
        }
        object.id = Some(id.to_owned());
        let active = if place.0 == "keys" { there["state"] == "active" } else { there["spec"]["enabled"] == true };
        if object.entry.is_some() {
            self.check_declared(place, object, there, client_id)?;
        } else {
            check_removed(place, object, there, active)?;
        }
        if place.0 == "clients" {
            let own = there["client_id"].as_str().unwrap_or_default();
            if !self.ids.contains(own) {
                return Err(format!("nobody finds it by its client id {own}"));
            }
            self.check_secret(place, object)?;
        }
        if place.0 == "users" {
            let hash = there["spec"]["password_hash"].as_str().unwrap_or_default();
            let same = object.sources.len() == 1 && !object.was_out;
            if same && object.secret.as_deref().is_some_and(|known| known != hash) {
                return Err("its password was hashed anew, and its sessions are over".to_owned());
            }
            object.secret = object.entry.is_some().then(|| hash.to_owned());
        }
        Ok(true)
    }

    fn check_declared(
        &self,
        place: &Place,
        object: &Object,
        there: &Value,
        client_id: Option<&str>,
    ) -> Result<(), String> {
        let entry = object.entry.as_ref().unwrap();
        let declared = self.declared.get(place).ok_or("it is not declared in the registry")?;
        let pairs: Vec<(&str, Value, &Value)> = match place.0 {
            "keys" => vec![
                ("algorithm", entry["algorithm"].clone(), &there["algorithm"]),
                ("description", entry["description"].clone(), &there["description"]),
                ("state", "active".into(), &there["state"]),
                ("managed_by", "resource".into(), &there["managed_by"]),
            ],
            "clients" => vec![
                ("client_id", client_id.unwrap_or_default().into(), &there["client_id"]),
                ("spec", declared.clone(), &there["spec"]),
                ("type", entry["type"].clone(), &declared["type"]),
                ("display_name", entry["displayName"].clone(), &declared["display_name"]),
                ("grants", entry["grants"].clone(), &declared["grants"]),
                ("redirect_uris", entry["redirectUris"].clone(), &declared["redirect_uris"]),
                ("logouts", entry["postLogoutRedirectUris"].clone(), &declared["post_logout_redirect_uris"]),
                ("scopes", texts(&entry["scopes"]).join(" ").into(), &declared["scopes"]),
                ("enabled", entry["enabled"].clone(), &declared["enabled"]),
            ],
            _ => vec![
                ("spec", declared.clone(), &there["spec"]),
                ("email", entry["email"].clone(), &declared["email"]),
                ("display_name", entry["displayName"].clone(), &declared["display_name"]),
                ("roles", entry["roles"].clone(), &declared["roles"]),
                ("enabled", entry["enabled"].clone(), &declared["enabled"]),
            ],
        };
        match pairs.into_iter().find(|(_, wanted, found)| wanted != *found) {
            Some((what, wanted, found)) => Err(format!("{what} is {found}, not {wanted}")),
            None => Ok(()),
        }
    }

    fn check_secret(&self, place: &Place, object: &mut Object) -> Result<(), String> {
        let found = self.secrets.get(&place.1).cloned().unwrap_or_default();
        let only = |all: &BTreeSet<String>, one: &str| all.len() == 1 && all.contains(one);
        let generated = only(&object.sources, "generated");
        let kept = generated && (!object.was_out || only(&object.removals, "orphan"));
        let before = object.secret.take();
        object.secret = found[0].clone();
        if let (true, Some(before)) = (kept, before) {
            let now = found[0].clone().ok_or("its Secret is gone")?;
            match object.rotations {
                0 if now != before => return Err("it has another secret, and nobody asked for one".to_owned()),
                1.. if now == before => return Err("it was to be rotated and was not".to_owned()),
                // The former one is valid.
                1 if object.overlaps.iter().all(|overlap| overlap != "0s") && found[1].as_ref() != Some(&before) => {
                    return Err("the former secret is not kept for its overlap".to_owned());
                }
                _ => {}
            }
        }
        let Some(entry) = &object.entry else { return Ok(()) };
        let is_generated = source(entry) == "generated";
        if is_generated != found[0].is_some() {
            return Err(format!("it has a Secret: {}, it is generated: {is_generated}", found[0].is_some()));
        }
        let declared = texts(&self.declared[place]["secret_sha256"]);
        if found[0].as_ref().is_some_and(|secret| declared.first() != Some(&sha256_hex(secret.as_bytes()))) {
            return Err("the secret in its Secret is not the one that is declared".to_owned());
        }
        Ok(())
    }

    /// Whether Secrets and registry agree; nothing of a Tenant tells.
    pub(super) fn rests(&self) -> bool {
        self.declared.iter().filter(|(place, _)| place.0 == "clients").all(|(place, declared)| {
            let Some([Some(secret), _]) = self.secrets.get(&place.1) else { return true };
            let own = texts(&declared["secret_sha256"]).first() == Some(&sha256_hex(secret.as_bytes()));
            own && !self.asked.contains(&place.1)
        })
    }
}

/// It stays as it was, or is shut.
fn check_removed(place: &Place, object: &Object, there: &Value, active: bool) -> Result<(), String> {
    let may_stay = object.removals.contains("orphan");
    let may_end = object.removals.contains("disable");
    let was_active = place.0 == "keys" || object.enabled.contains(&true);
    let was_disabled = place.0 != "keys" && object.enabled.contains(&false);
    if active && !(may_stay && was_active) {
        return Err("its entry was taken out, and it is not disabled".to_owned());
    }
    let is_right = active || may_end || may_stay && was_disabled;
    if !is_right {
        return Err("its entry was taken out, and it is disabled".to_owned());
    }
    if place.0 == "keys" && there["managed_by"] != "api" {
        return Err("its entry was taken out, and nobody can change it".to_owned());
    }
    Ok(())
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
