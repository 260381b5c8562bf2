//! What follows from the edits: what is declared, and what must never be gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::draw::{Edit, KINDS, Place, TENANTS};

/// What is known of an object. What came and went since all was at rest, the operator may have seen or not.
#[derive(Debug, Clone, Default)]
pub(super) struct Object {
    /// As it is declared; none when it was taken out.
    pub(super) entry: Option<Value>,
    /// Its id, once it was seen.
    pub(super) id: Option<String>,
    /// The hash of its password, or its generated secret, once it was seen.
    pub(super) secret: Option<String>,
    /// Since all was at rest: what it was or is.
    pub(super) removals: BTreeSet<String>,
    pub(super) enabled: BTreeSet<bool>,
    pub(super) client_ids: BTreeSet<String>,
    pub(super) sources: BTreeSet<String>,
    pub(super) overlaps: BTreeSet<String>,
    pub(super) was_out: bool,
    pub(super) rotations: u32,
}

impl Object {
    fn put(&mut self, entry: Value, client_id: Option<String>) {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        self.removals.insert(text("onRemove"));
        self.enabled.insert(entry["enabled"].as_bool().unwrap_or(true));
        self.client_ids.extend(client_id);
        self.sources.insert(source(&entry));
        self.overlaps.insert(entry["secret"]["overlap"].as_str().unwrap_or("24h").to_owned());
        self.entry = Some(entry);
    }

    /// Whether it may be gone, or may have been.
    pub(super) fn may_be_gone(&self) -> bool {
        (self.entry.is_none() || self.was_out) && self.removals.contains("delete")
    }

    /// All is at rest, and this is what is there.
    pub(super) fn rests(&mut self, client_id: Option<String>) {
        let entry = self.entry.clone();
        (self.was_out, self.rotations) = (false, 0);
        if let Some(entry) = entry {
            for all in [&mut self.removals, &mut self.client_ids, &mut self.sources, &mut self.overlaps] {
                all.clear();
            }
            self.enabled.clear();
            self.put(entry, client_id);
        } else {
            // It is still there: that was not what happened.
            self.removals.remove("delete");
        }
    }
}

/// Where the secret or password of an entry comes from.
pub(super) fn source(entry: &Value) -> String {
    if entry["type"] == "public" {
        return "none".to_owned();
    }
    let given = [&entry["secret"]["secretRef"], &entry["passwordSecretRef"]].into_iter().find(|given| !given.is_null());
    given.map_or_else(|| "generated".to_owned(), ToString::to_string)
}

pub(super) struct Tenant {
    pub(super) name: String,
    pub(super) fields: Map<String, Value>,
    pub(super) objects: BTreeMap<Place, Object>,
}

impl Tenant {
    /// The spec.
    pub(super) fn spec(&self) -> Value {
        let mut spec = self.fields.clone();
        spec.insert("realmRef".to_owned(), json!({"name": "main"}));
        for kind in KINDS {
            let entries = self.objects.iter().filter(|(place, _)| place.0 == kind);
            spec.insert(kind.to_owned(), entries.filter_map(|(_, object)| object.entry.clone()).collect());
        }
        Value::Object(spec)
    }

    pub(super) fn client_id(&self, entry: &Value) -> String {
        let name = entry["name"].as_str().unwrap_or_default();
        entry["clientId"].as_str().map_or_else(|| format!("{}.{name}", self.name), str::to_owned)
    }

    fn live(&self, which: impl Fn(&Place, &Object, &Value) -> bool) -> Vec<Place> {
        let all = self
            .objects
            .iter()
            .filter(|(place, object)| object.entry.as_ref().is_some_and(|entry| which(place, object, entry)));
        all.map(|(place, _)| place.clone()).collect()
    }

    fn put(&mut self, place: Place, entry: Value) -> bool {
        let id = (place.0 == "clients").then(|| self.client_id(&entry));
        // Ids are unique, and one that is left to itself keeps its own.
        let taken = id.as_ref().is_some_and(|id| {
            self.objects.iter().any(|(other, object)| {
                let has = |entry: &Value| other.0 == "clients" && self.client_id(entry) == *id;
                let keeps = object.entry.is_none() && object.client_ids.contains(id);
                *other != place && (keeps || object.entry.as_ref().is_some_and(has))
            })
        });
        let object = self.objects.entry(place).or_default();
        let changes = !taken && object.entry.as_ref() != Some(&entry);
        if changes {
            object.put(entry, id);
        }
        changes
    }

    /// An id that it had a moment ago and that another one has now might stay with it: then there is no telling.
    fn remove(&mut self, place: &Place) -> bool {
        let had = self.objects[place].client_ids.clone();
        let given_on = self.objects.iter().any(|(other, object)| {
            let id = object.entry.as_ref().filter(|_| other.0 == "clients").map(|entry| self.client_id(entry));
            other != place && id.is_some_and(|id| had.contains(&id))
        });
        let object = self.objects.get_mut(place).unwrap();
        // What was asked of an entry that goes at once is perhaps done when it comes back.
        let goes = !given_on && object.rotations == 0;
        if goes {
            (object.entry, object.was_out) = (None, true);
        }
        goes
    }

    fn exchange(&mut self, one: &Place, two: &Place) -> bool {
        let ids = [one, two].map(|place| self.objects[place].entry.clone().unwrap());
        let [mut first, mut second] = ids;
        if one == two || first["clientId"].is_null() || second["clientId"].is_null() {
            return false;
        }
        std::mem::swap(&mut first["clientId"], &mut second["clientId"]);
        for (place, entry) in [(one, first), (two, second)] {
            let id = self.client_id(&entry);
            self.objects.get_mut(place).unwrap().put(entry, Some(id));
        }
        true
    }
}

/// What has to be told to the API server.
pub(super) enum Act {
    Tenant(usize),
    Realm,
    /// A new value of the annotation on this client's Secret.
    Rotate(String, String),
}

pub(super) struct Model {
    pub(super) tenants: Vec<Tenant>,
    pub(super) realm: Value,
    rotations: u32,
}

impl Model {
    pub(super) fn new() -> Self {
        let tenants = (0..TENANTS).map(|number| {
            let (name, fields) = (format!("tenant-{number}"), Map::new());
            Tenant { name, fields, objects: BTreeMap::new() }
        });
        let realm = json!({
            "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
            "database": {"external": {"secretRef": {"name": "postgres"}}},
        });
        Self { tenants: tenants.collect(), realm, rotations: 0 }
    }

    /// Does the edit; `None` when it changes nothing, or is none that is allowed now.
    pub(super) fn apply(&mut self, number: usize, edit: Edit) -> Option<Act> {
        let tenant = &mut self.tenants[number];
        let changes = match edit {
            Edit::Put(place, mut entry) => {
                if let Some(id) = entry["clientId"].as_str() {
                    let own = if id.starts_with("own") { format!("-{}", place.1) } else { String::new() };
                    entry["clientId"] = json!(format!("{}{own}_{id}", tenant.name));
                }
                tenant.put(place, entry)
            }
            Edit::Remove(pick) => {
                let all = tenant.live(|_, _, _| true);
                let place = (!all.is_empty()).then(|| pick.get(&all))?;
                tenant.remove(place)
            }
            Edit::Exchange(one, two) => {
                let all = tenant.live(|place, _, _| place.0 == "clients");
                !all.is_empty() && tenant.exchange(one.get(&all), two.get(&all))
            }
            Edit::Rotate(pick) => {
                // That has a secret, and had it all the time.
                let all = tenant.live(|place, object, _| {
                    let generated = object.sources.iter().eq(["generated"]);
                    place.0 == "clients" && generated && object.secret.is_some() && !object.was_out
                });
                let place = (!all.is_empty()).then(|| pick.get(&all))?;
                self.rotations += 1;
                tenant.objects.get_mut(place)?.rotations += 1;
                return Some(Act::Rotate(format!("{}-client-{}", tenant.name, place.1), self.rotations.to_string()));
            }
            Edit::Tenant(field, value) => {
                let before = tenant.fields.get(field).cloned().unwrap_or_default();
                if value.is_null() {
                    tenant.fields.remove(field);
                } else {
                    tenant.fields.insert(field.to_owned(), value.clone());
                }
                before != value
            }
            Edit::Realm(field, value) => return self.edit_realm(field, value).then_some(Act::Realm),
        };
        changes.then_some(Act::Tenant(number))
    }

    fn edit_realm(&mut self, field: &str, value: Value) -> bool {
        let before = self.realm.clone();
        let mut at = &mut self.realm;
        let parts: Vec<&str> = field.split('/').skip(1).collect();
        let (last, parents) = parts.split_last().unwrap();
        for part in parents {
            at = at.as_object_mut().unwrap().entry(*part).or_insert_with(|| json!({}));
        }
        let at = at.as_object_mut().unwrap();
        match value {
            Value::Null => drop(at.remove(*last)),
            value => drop(at.insert((*last).to_owned(), value)),
        }
        self.realm != before
    }
}
