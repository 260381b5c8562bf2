//! Random edits of a Tenant, against what stands for registrar and products.

use proptest::prelude::*;

use super::*;

/// What stands for registrar and products: the rows, the objects that were made, and the sources.
#[derive(Default)]
struct World {
    registry: Option<Registry>,
    secrets: BTreeMap<String, Generated>,
    hashes: BTreeMap<String, String>,
    objects: BTreeMap<(String, String), bool>,
    made: u32,
}

impl World {
    fn observe(&self, desired: &Tenant) -> Observed {
        let mut observed = at(self.registry.clone().unwrap_or_else(|| open(None)));
        for client in &desired.spec.clients {
            let secret = self.secrets.get(&client.name).cloned().map_or(ClientSecret::Missing, ClientSecret::Generated);
            observed.clients.insert(client.name.clone(), secret);
        }
        for user in &desired.spec.users {
            let hash = self.hashes.get(&user.name).cloned().map_or(Password::Unhashed, Password::Hash);
            observed.passwords.insert(user.name.clone(), hash);
        }
        observed
    }

    fn apply(&mut self, desired: &mut Tenant, step: Step) {
        match step {
            Step::AddFinalizer => *desired = kept(desired.clone()),
            Step::Create(new) => self.registry = Some(open(Some(row(&new.slug, ID, &new.owner, true)))),
            Step::MakeSecret { client } => {
                self.made += 1;
                let entry = desired.spec.clients.iter().find(|entry| entry.name == client).unwrap();
                let client_id = entries::client_id(desired, entry);
                self.secrets.insert(client, Generated { client_id, ..generated(&self.made.to_string()) });
            }
            Step::RefreshSecret { client } => {
                let entry = desired.spec.clients.iter().find(|entry| entry.name == client).unwrap();
                self.secrets.get_mut(&client).unwrap().client_id = entries::client_id(desired, entry);
            }
            Step::HashPasswords(users) => {
                self.hashes.extend(users.into_iter().map(|user| (user.clone(), format!("hash of {user}"))));
            }
            Step::Rename(_, name) => self.own().display_name = name,
            Step::Declare(_, declared, _) => {
                let registry = self.registry.as_mut().unwrap();
                declare(&mut registry.rows, &declared);
                registry.reports = report(&registry.rows);
                for row in &registry.rows {
                    let place = (row.kind.clone(), row.name.clone());
                    if row.deleted_at.is_some() && row.on_remove == OnRemove::Delete {
                        self.objects.remove(&place);
                    } else {
                        self.objects.insert(place, row.deleted_at.is_none());
                    }
                }
            }
            other => panic!("{other:?} has no place here"),
        }
    }

    fn own(&mut self) -> &mut Row {
        self.registry.as_mut().and_then(|registry| registry.own.as_mut()).unwrap()
    }
}

fn entry_names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[a-d]", 0..4).prop_map(|names| names.into_iter().collect())
}

fn specs() -> impl Strategy<Value = serde_json::Value> {
    let removal = prop::sample::select(vec!["orphan", "disable", "delete"]);
    (entry_names(), entry_names(), entry_names(), removal, "[A-Z]{0,3}", any::<bool>(), any::<bool>()).prop_map(
        |(keys, clients, users, removal, text, enabled, bare)| {
            let key_removal = if removal == "delete" { "orphan" } else { removal };
            let client = |name: String| {
                let mut client = json!({"name": name, "type": "confidential", "grants": ["client_credentials"],
                    "scopes": ["kms:encrypt"], "displayName": text, "enabled": enabled, "onRemove": removal});
                if bare {
                    client["clientId"] = json!(format!("bare-{name}"));
                }
                client
            };
            let user = |name: String| {
                json!({"name": name, "passwordSecretRef": {"name": "people", "key": name}, "displayName": text,
                    "enabled": enabled, "onRemove": removal})
            };
            let key = |name: String| {
                json!({"name": name, "algorithm": "ES256", "description": text, "onRemove": key_removal})
            };
            json!({
                "displayName": format!("Acme {text}"),
                "keys": keys.into_iter().map(key).collect::<Vec<_>>(),
                "clients": clients.into_iter().map(client).collect::<Vec<_>>(),
                "users": users.into_iter().map(user).collect::<Vec<_>>(),
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    /// Whatever is edited, and in whatever order: it comes to rest, what is declared is there, and nothing is lost but what an
    /// entry said shall be deleted with it. A pass may end after any step: the next one goes on.
    #[test]
    fn every_sequence_of_edits_converges_and_loses_nothing(edits in prop::collection::vec((specs(), 0_usize..4), 1..6)) {
        let mut world = World::default();
        let mut finalizers = None;
        let mut expected: BTreeMap<(String, String), bool> = BTreeMap::new();
        for (spec, interrupted) in edits {
            let mut desired = tenant(spec);
            desired.metadata.finalizers = finalizers;
            let mut passes = 0;
            let last = loop {
                let next = plan(&desired, &world.observe(&desired), NOW);
                if next.steps.is_empty() {
                    break next;
                }
                passes += 1;
                prop_assert!(passes < 12, "it does not come to rest: {:?}", names(&next));
                let count = if passes == 1 { interrupted.max(1) } else { usize::MAX };
                for step in next.steps.into_iter().take(count) {
                    world.apply(&mut desired, step);
                }
            };
            prop_assert_eq!(last.report.state, State::Ready, "{}", last.report.message);
            finalizers = desired.metadata.finalizers.clone();
            let keys = desired.spec.keys.iter().map(|key| ("key", &key.name));
            let clients = desired.spec.clients.iter().map(|client| ("client", &client.name));
            let users = desired.spec.users.iter().map(|user| ("user", &user.name));
            let now: Vec<(String, String)> =
                keys.chain(clients).chain(users).map(|(kind, name)| (kind.to_owned(), name.clone())).collect();
            // By the row that was declared last: whether the object may be gone.
            let rows = &world.registry.as_ref().unwrap().rows;
            expected.retain(|place, _| now.contains(place) || !rows.iter().any(|row| {
                (&row.kind, &row.name) == (&place.0, &place.1) && row.on_remove == OnRemove::Delete
            }));
            for (place, live) in &mut expected {
                *live = now.contains(place);
            }
            expected.extend(now.into_iter().map(|place| (place, true)));
            prop_assert_eq!(&world.objects, &expected);
        }
    }
}
