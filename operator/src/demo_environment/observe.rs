//! What is there of a DemoEnvironment, from the watches alone.

use std::collections::BTreeMap;

use crds::{DEMO_LABEL, DemoEnvironment};
use kube::runtime::reflector::ObjectRef;

use super::expand::Expansion;
use super::plan::{Observed, Part, Said};
use crate::child::{ChildKind, ChildRef};
use crate::stores::{Entry, Kind, Stores};

/// What is there.
#[must_use]
pub fn observe(demo: &DemoEnvironment, stores: &Stores) -> Observed {
    let expansion = Expansion::new(demo);
    let namespace = expansion.namespace;
    let realm = stores.realms().get(&ObjectRef::new(expansion.name).within(namespace));
    // Those that have a name which is needed, whoever's they are, and those that were made and are too many.
    let mut names: Vec<String> = (1..=expansion.tenants()).map(|number| expansion.tenant_at(number).name).collect();
    let made = stores.children_of(ChildKind::Tenant, namespace, (DEMO_LABEL, expansion.name));
    names.extend(made.into_iter().map(|(at, _)| at.name));
    let tenants: BTreeMap<String, Part> = names
        .into_iter()
        .filter_map(|name| {
            let tenant = stores.tenants().get(&ObjectRef::new(&name).within(namespace))?;
            let part = part(tenant.as_ref(), stores, &ChildRef::new(ChildKind::Tenant, namespace, &name));
            Some((name, part))
        })
        .collect();
    Observed {
        realm: realm.map(|realm| part(realm.as_ref(), stores, &expansion.realm_at())),
        tenants,
        credentials: stores.seen(&expansion.credentials_at()),
    }
}

fn part<K: Kind>(object: &K, stores: &Stores, at: &ChildRef) -> Part {
    let meta = object.meta();
    let watched = Entry::of(meta).seen;
    // What was just written is known before the watch tells of it.
    let written = stores.seen(at).filter(|written| written.uid == watched.uid);
    let report = Said::of(object.conditions(), written.as_ref().map_or(meta.generation, |written| written.generation));
    Part { seen: written.unwrap_or_else(|| watched.as_ref().clone()), report }
}
