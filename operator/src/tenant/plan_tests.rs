//! Each reason and each way of deletion; that no sequence of edits loses an object is in `edits_tests`.

mod edits_tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{FINALIZER, Tenant};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;
use keyrealm_base::{InstanceId, SystemClock, TenantId, Timestamp};
use keyrealm_crypto::{SystemRandom, sha256_hex};
use keyrealm_registry::{DesiredEntry, DesiredStatus, Instance, Observed as Report, ObservedEntry, OnRemove, Overlap};
use keyrealm_registry::{Tenant as Row, Versions, spec_hash};
use keyrealm_store::{Drift, DriftKind, Product, Space};
use serde_json::json;

use super::entries;
use super::observed::*;
use super::plan::{Plan, Step, plan};
use crate::report::State;

const ID: &str = "3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c";
const OTHER_ID: &str = "4f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c";
const UID: &str = "uid-of-acme";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

fn tenant(spec: serde_json::Value) -> Tenant {
    let mut whole = json!({"realmRef": {"name": "main"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut tenant = Tenant::new("acme", serde_json::from_value(whole).unwrap());
    tenant.metadata.uid = Some(UID.to_owned());
    tenant.metadata.namespace = Some("team".to_owned());
    tenant
}

fn kept(mut tenant: Tenant) -> Tenant {
    tenant.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    tenant
}

fn deleted(tenant: Tenant) -> Tenant {
    let mut tenant = kept(tenant);
    tenant.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    tenant
}

fn full() -> Tenant {
    kept(tenant(json!({
        "keys": [{"name": "seal", "algorithm": "A256GCM/dir"}],
        "clients": [
            {"name": "app", "type": "confidential", "grants": ["client_credentials"], "scopes": ["kms:encrypt"]},
            {"name": "desk", "type": "public", "grants": ["authorization_code"], "scopes": ["openid"],
             "redirectUris": ["http://127.0.0.1/cb"]},
        ],
        "users": [{"name": "alice", "passwordSecretRef": {"name": "people", "key": "alice"}}],
    })))
}

fn row(slug: &str, id_text: &str, owner: &str, enabled: bool) -> Row {
    Row {
        id: id(id_text),
        slug: slug.to_owned(),
        display_name: slug.to_owned(),
        enabled,
        owner: owner.to_owned(),
        home: "team/acme".to_owned(),
        changed: 7,
    }
}

fn process(product: &str, seen: i64) -> Instance {
    Instance {
        id: InstanceId::new(&SystemClock, &SystemRandom),
        product: product.to_owned(),
        ready: true,
        chain_sha256: String::new(),
        bundle_sha256: String::new(),
        schema_version: 1,
        heartbeat: NOW,
        seen,
    }
}

fn open(own: Option<Row>) -> Registry {
    Registry {
        own,
        fresh: vec![process("kms", 7), process("identity", 7)],
        versions: Versions { kms: 1, identity: 1 },
        ..Registry::default()
    }
}

fn at(registry: Registry) -> Observed {
    Observed { realm: RealmSeen::Present, database: DatabaseSeen::Open(Box::new(registry)), ..Observed::default() }
}

fn served() -> Registry {
    open(Some(row("acme", ID, UID, true)))
}

fn generated(secret: &str) -> Generated {
    Generated {
        sha256: sha256_hex(secret.as_bytes()),
        former: None,
        client_id: "acme.app".to_owned(),
        rotated: String::new(),
        rotate: String::new(),
        intact: true,
    }
}

/// With its sources at hand.
fn sourced(registry: Registry) -> Observed {
    Observed {
        clients: BTreeMap::from([("app".to_owned(), ClientSecret::Generated(generated("s")))]),
        passwords: BTreeMap::from([("alice".to_owned(), Password::Hash("hash".to_owned()))]),
        ..at(registry)
    }
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(Step::name).collect()
}

/// The rows as the registrar would leave them.
fn declare(rows: &mut Vec<DesiredEntry>, wanted: &[keyrealm_registry::Declared]) {
    for row in rows.iter_mut() {
        if !wanted.iter().any(|entry| (entry.kind.as_str(), &entry.name) == (&row.kind, &row.name)) {
            row.deleted_at.get_or_insert(NOW);
        }
    }
    for entry in wanted {
        rows.retain(|row| (row.kind.as_str(), &row.name) != (&entry.kind, &entry.name));
        rows.push(DesiredEntry {
            tenant: id(ID),
            product: entry.product.name().to_owned(),
            kind: entry.kind.clone(),
            name: entry.name.clone(),
            spec: entry.spec.clone(),
            spec_hash: spec_hash(&entry.spec, sha256_hex),
            generation: 1,
            deleted_at: None,
            on_remove: entry.on_remove,
        });
    }
}

/// What the products would report.
fn report(rows: &[DesiredEntry]) -> Vec<ObservedEntry> {
    let status = |row: &DesiredEntry| match (row.deleted_at, row.on_remove) {
        (None, _) => DesiredStatus::Ready,
        (_, OnRemove::Orphan) => DesiredStatus::Orphaned,
        (_, OnRemove::Disable) => DesiredStatus::Disabled,
        (_, OnRemove::Delete) => DesiredStatus::Deleted,
    };
    rows.iter()
        .map(|row| ObservedEntry {
            product: row.product.clone(),
            kind: row.kind.clone(),
            name: row.name.clone(),
            observed: Report {
                spec_hash: row.spec_hash.clone(),
                object_id: Some("object".to_owned()),
                status: status(row),
                reason: String::new(),
                message: String::new(),
            },
        })
        .collect()
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_done() {
    let slug_of_other = Holder { row: row("acme", OTHER_ID, "another", true), owner_lives: true };
    let id_of_other = Holder { row: row("beta", ID, "another", true), owner_lives: true };
    let retained = Holder { row: row("acme", OTHER_ID, "", false), owner_lives: false };
    let lost = Holder { row: row("acme", OTHER_ID, "a-uid-that-is-gone", true), owner_lives: false };
    let by_hand = Holder { row: row("acme", OTHER_ID, "", true), owner_lives: false };
    let slug = |holder: Holder| at(Registry { of_slug: Some(holder), ..open(None) });
    let foreign = Drift {
        space: Space::Tenant(Product::Kms, id(ID)),
        kind: DriftKind::SchemaForeign,
        object: "kms_x".to_owned(),
    };
    let plain = tenant(json!({}));
    let cases = [
        (Observed::default(), "RealmNotFound", "Realm team/main"),
        (
            Observed { realm: RealmSeen::NotWatched(vec!["a".into(), "b".into()]), ..Observed::default() },
            "RealmNotWatched",
            "it looks at a, b; let it look at that namespace",
        ),
        (Observed { realm: RealmSeen::Deleting, ..at(open(None)) }, "RealmNotReady", "being deleted"),
        (
            Observed { realm: RealmSeen::Refuses("no entry".into()), ..at(open(None)) },
            "NamespaceNotAllowed",
            "no entry",
        ),
        (Observed { realm: RealmSeen::Present, ..Observed::default() }, "RealmNotReady", "no database yet"),
        (Observed { database: DatabaseSeen::Unprepared, ..at(open(None)) }, "RealmNotReady", "logins"),
        (
            Observed { database: DatabaseSeen::Unreachable("refused".into()), ..at(open(None)) },
            "DatabaseUnreachable",
            "refused",
        ),
        (slug(slug_of_other), "SlugTaken", "spec.slug"),
        (slug(by_hand), "SlugTaken", "spec.slug"),
        (slug(retained), "TenantRetained", "kubectl annotate tenant acme -n team --overwrite keyrealm.dev/adopt=4f2b"),
        (slug(lost), "TenantRetained", "keyrealm.dev/adopt=4f2b"),
        (at(Registry { of_id: Some(id_of_other), ..open(None) }), "IdTaken", "`beta`"),
        (at(Registry { drift: vec![foreign], ..served() }), "ForeignObject", "kms_x"),
    ];
    for (observed, reason, part) in cases {
        // With the finalizer set the last case has nothing to do, either.
        let desired = if reason == "ForeignObject" { kept(plain.clone()) } else { plain.clone() };
        let plan = plan(&desired, &observed, NOW);
        assert_eq!((plan.report.reason, names(&plan)), (reason, vec![]), "{}", plan.report.message);
        assert!(plan.report.message.contains(part), "{}", plan.report.message);
    }
    let bad = tenant(json!({"clients": [{"name": "a", "type": "confidential", "grants": ["client_credentials"],
        "scopes": ["kms:read"], "secret": {"overlap": "soon"}}]}));
    assert_eq!(plan(&bad, &at(open(None)), NOW).report.reason, "InvalidSpec");
}

#[test]
fn a_free_name_is_taken_after_the_finalizer() {
    let made = plan(&tenant(json!({"id": ID})), &at(open(None)), NOW);
    assert_eq!(names(&made), ["tenant.add-finalizer", "tenant.create"]);
    let Some(Step::Create(new)) = made.steps.last() else { panic!() };
    assert_eq!((new.slug.as_str(), new.id, new.owner.as_str()), ("acme", Some(id(ID)), UID));
}

#[test]
fn a_retained_tenant_is_adopted_by_its_id_alone() {
    let adopting = |annotation: &str, spec| {
        let mut tenant = tenant(spec);
        tenant.metadata.annotations = Some(BTreeMap::from([(crds::ADOPT.to_owned(), annotation.to_owned())]));
        tenant
    };
    let retained = Holder { row: row("acme", OTHER_ID, "", false), owner_lives: false };
    let observed = at(Registry { of_slug: Some(retained), ..open(None) });
    let adopted = plan(&adopting(OTHER_ID, json!({})), &observed, NOW);
    assert_eq!(names(&adopted), ["tenant.add-finalizer", "tenant.adopt"]);
    assert_eq!(plan(&adopting(ID, json!({})), &observed, NOW).report.reason, "TenantRetained");
    assert_eq!(plan(&adopting(OTHER_ID, json!({"id": ID})), &observed, NOW).report.reason, "IdTaken");
    let lost = Holder { row: row("acme", OTHER_ID, "gone", true), owner_lives: false };
    let observed = at(Registry { of_slug: Some(lost), ..open(None) });
    let adopted = plan(&adopting(OTHER_ID, json!({})), &observed, NOW);
    assert_eq!(names(&adopted), ["tenant.add-finalizer", "tenant.release", "tenant.adopt"]);
    let alive = Holder { row: row("acme", OTHER_ID, "gone", true), owner_lives: true };
    let observed = at(Registry { of_slug: Some(alive), ..open(None) });
    assert_eq!(plan(&adopting(OTHER_ID, json!({})), &observed, NOW).report.reason, "SlugTaken");
}

/// Ids are no secrets: tokens and statuses carry them. Where the Tenant lies decides.
#[test]
fn what_was_retained_goes_to_its_own_namespace_or_the_realms() {
    let shared = |namespace: &str, annotated: bool| {
        let mut tenant = tenant(json!({"realmRef": {"name": "main", "namespace": "platform"}}));
        tenant.metadata.namespace = Some(namespace.to_owned());
        let adopt = (crds::ADOPT.to_owned(), OTHER_ID.to_owned());
        tenant.metadata.annotations = annotated.then(|| BTreeMap::from([adopt]));
        tenant
    };
    let held = |owner: &str, home: &str| {
        let row = Row { home: home.to_owned(), ..row("acme", OTHER_ID, owner, false) };
        at(Registry { of_slug: Some(Holder { row, owner_lives: false }), ..open(None) })
    };
    for (namespace, home, allowed) in [
        ("team", "team/other-name", true),
        ("platform", "team/acme", true),
        ("platform", "", true),
        ("rival", "team/acme", false),
        ("rival", "", false),
        ("rival", "rival-2/acme", false),
    ] {
        for owner in ["", "gone"] {
            let asked = plan(&shared(namespace, false), &held(owner, home), NOW).report;
            assert_eq!((asked.reason, &asked.state), ("TenantRetained", &State::Stalled));
            assert_eq!(asked.message.contains(OTHER_ID), allowed, "{namespace} {home}: {}", asked.message);
            let adopts = plan(&shared(namespace, true), &held(owner, home), NOW);
            assert_eq!(names(&adopts).contains(&"tenant.adopt"), allowed, "{namespace} {home}");
            if !allowed {
                assert_eq!(adopts.report, asked);
                assert!(
                    asked.message.contains("namespace, platform,") && !asked.message.contains("team"),
                    "{}",
                    asked.message
                );
            }
        }
    }
}

#[test]
fn from_nothing_to_ready() {
    let desired = full();
    let missing = Observed {
        clients: BTreeMap::from([("app".to_owned(), ClientSecret::Missing)]),
        passwords: BTreeMap::from([("alice".to_owned(), Password::Unhashed)]),
        ..at(served())
    };
    let first = plan(&desired, &missing, NOW);
    assert_eq!(names(&first), ["tenant.make-secret", "tenant.hash-passwords"]);
    assert_eq!((first.report.reason, first.ready_entries.as_deref()), ("EntriesPending", Some("0/4")));

    let second = plan(&desired, &sourced(served()), NOW);
    let [Step::Declare(_, declared, _)] = &second.steps[..] else { panic!("{:?}", second.steps) };
    assert_eq!(declared.len(), 4);
    let app = declared.iter().find(|entry| entry.name == "app").unwrap();
    assert_eq!(app.spec["client_id"], "acme.app");
    assert_eq!(app.spec["secret_sha256"], json!([sha256_hex(b"s")]));
    assert_eq!(declared.iter().find(|entry| entry.name == "desk").unwrap().spec["secret_sha256"], json!([]));

    let mut registry = served();
    declare(&mut registry.rows, declared);
    let third = plan(&desired, &sourced(registry.clone()), NOW);
    assert_eq!((third.report.reason, names(&third)), ("EntriesPending", vec![]));
    assert_eq!(third.entries.len(), 4);

    registry.reports = report(&registry.rows);
    let ready = plan(&desired, &sourced(registry.clone()), NOW);
    assert_eq!((ready.report.state, ready.ready_entries.as_deref()), (State::Ready, Some("4/4")));
    assert!(ready.steps.is_empty() && ready.entries.is_empty());

    for (change, reason) in [
        (&(|r: &mut Registry| r.fresh.clear()) as &dyn Fn(&mut Registry), "InstancesNotReady"),
        (&|r| r.quiet_for = Some(Duration::ZERO), "InstancesNotReady"),
        (&|r| r.versions.kms = 0, "NotMigrated"),
        (&|r| r.fresh[0].seen = 6, "EntriesPending"),
        (&|r| r.declared = 8, "EntriesPending"),
        (&|r| r.reports[0].observed.spec_hash.push('x'), "EntriesPending"),
        (&|r| drop(r.reports.pop()), "EntriesPending"),
    ] {
        let mut registry = registry.clone();
        change(&mut registry);
        let plan = plan(&desired, &sourced(registry), NOW);
        assert_eq!((plan.report.reason, plan.steps.len()), (reason, 0), "{}", plan.report.message);
    }
    let mut failed = registry.clone();
    failed.reports[0].observed.status = DesiredStatus::Failed;
    failed.reports[0].observed.reason = "InvalidSpecification".to_owned();
    let failed_plan = plan(&desired, &sourced(failed.clone()), NOW);
    assert_eq!(failed_plan.report.reason, "EntriesFailed");
    assert!(failed_plan.report.message.starts_with("key seal: InvalidSpecification"), "{}", failed_plan.report.message);
    failed.reports[0].observed.reason = "DatabaseFailed".to_owned();
    assert_eq!(plan(&desired, &sourced(failed), NOW).report.reason, "EntriesPending", "it passes by itself");
}

#[test]
fn a_source_that_is_gone_takes_nothing_away() {
    let desired = full();
    let mut registry = served();
    let Some(Step::Declare(_, declared, _)) = plan(&desired, &sourced(served()), NOW).steps.pop() else { panic!() };
    declare(&mut registry.rows, &declared);
    registry.reports = report(&registry.rows);
    let gone = Observed {
        clients: BTreeMap::from([("app".to_owned(), ClientSecret::Unusable("SecretMissing", "no Secret x".into()))]),
        passwords: BTreeMap::from([("alice".to_owned(), Password::Unusable("SecretMissing", "no Secret y".into()))]),
        ..at(registry)
    };
    let plan = plan(&desired, &gone, NOW);
    assert_eq!((plan.report.reason, names(&plan)), ("SecretMissing", vec![]), "all rows stay as they are");
    assert_eq!(plan.ready_entries.as_deref(), Some("2/4"));
    assert_eq!(plan.entries.len(), 2);
    assert!(plan.requeue <= Duration::from_secs(15));
}

#[test]
fn a_removed_entry_is_shown_until_nothing_of_it_is_left() {
    let desired = full();
    let mut registry = served();
    let Some(Step::Declare(_, declared, _)) = plan(&desired, &sourced(served()), NOW).steps.pop() else { panic!() };
    declare(&mut registry.rows, &declared);
    let mut less = desired.clone();
    less.spec.keys.clear();
    let Some(Step::Declare(_, declared, _)) = plan(&less, &sourced(registry.clone()), NOW).steps.pop() else {
        panic!()
    };
    declare(&mut registry.rows, &declared);
    registry.reports = report(&registry.rows);
    let shown = plan(&less, &sourced(registry.clone()), NOW);
    assert_eq!((shown.report.state, shown.ready_entries.as_deref()), (State::Ready, Some("3/3")));
    assert_eq!(shown.entries[0].state, crds::EntryState::Orphaned);
    let key = registry.reports.iter_mut().find(|report| report.kind == "key").unwrap();
    key.observed.status = DesiredStatus::Ready;
    assert_eq!(plan(&less, &sourced(registry), NOW).entries[0].state, crds::EntryState::Pending);
}

#[test]
fn secrets_are_rotated_mended_and_ended() {
    let mut registry = served();
    let desired = full();
    let Some(Step::Declare(_, declared, _)) = plan(&desired, &sourced(served()), NOW).steps.pop() else { panic!() };
    declare(&mut registry.rows, &declared);
    registry.reports = report(&registry.rows);
    let with = |change: &dyn Fn(&mut Generated)| {
        let mut secret = generated("s");
        change(&mut secret);
        let mut observed = sourced(registry.clone());
        observed.clients.insert("app".to_owned(), ClientSecret::Generated(secret));
        plan(&desired, &observed, NOW)
    };
    let day = NOW.plus(Duration::from_hours(24));
    let rotate = Step::RotateSecret { client: "app".to_owned(), until: day };
    assert_eq!(with(&|own| own.rotate = "1".to_owned()).steps, std::slice::from_ref(&rotate));
    assert_eq!(with(&|own| own.intact = false).steps, [rotate], "an edited one is replaced");
    let ended = with(&|own| own.former = Some(("old".into(), NOW)));
    assert_eq!(ended.steps, [Step::RefreshSecret { client: "app".to_owned() }]);
    let renamed = with(&|own| own.client_id = "acme.former".to_owned());
    assert_eq!(renamed.steps, [Step::RefreshSecret { client: "app".to_owned() }]);

    let soon = NOW.plus(Duration::from_secs(3));
    let both = with(&|own| own.former = Some(("old".into(), soon)));
    let [Step::Declare(_, declared, _)] = &both.steps[..] else { panic!("{:?}", both.steps) };
    let app = declared.iter().find(|entry| entry.name == "app").unwrap();
    assert_eq!(app.spec["secret_sha256"], json!([sha256_hex(b"s"), "old"]), "the two newest are valid");
    assert_eq!(both.requeue, Duration::from_secs(3), "and it is looked at again when the former one ends");

    let mut spare = sourced(registry.clone());
    spare.spare = vec!["left".to_owned()];
    assert_eq!(plan(&desired, &spare, NOW).steps, [Step::DeleteSecret { client: "left".to_owned() }]);
}

#[test]
fn the_end_of_an_own_secrets_overlap_is_noted_and_obeyed_whatever_becomes_of_its_source() {
    let desired = kept(tenant(json!({"clients": [{"name": "app", "type": "confidential",
        "grants": ["client_credentials"], "scopes": ["kms:encrypt"], "secret": {"secretRef": {"name": "own", "key": "app"}}}]})));
    let end = NOW.plus(Duration::from_hours(1));
    let with = |registry: &Registry, secret: ClientSecret, now: Timestamp| {
        let clients = BTreeMap::from([("app".to_owned(), secret)]);
        plan(&desired, &Observed { clients, ..at(registry.clone()) }, now)
    };
    let given = |former: Option<Timestamp>| ClientSecret::Given {
        sha256: "new".to_owned(),
        former: former.map(|end| ("old".to_owned(), end)),
    };
    let gone = || ClientSecret::Unusable("SecretMissing", "no Secret own".to_owned());
    let mut registry = served();
    let first = with(&registry, given(Some(end)), NOW);
    let [Step::Declare(_, declared, ends)] = &first.steps[..] else { panic!("{:?}", first.steps) };
    assert_eq!(declared[0].spec["secret_sha256"], json!(["new", "old"]));
    let noted = Overlap { client: "app".to_owned(), former_sha256: "old".to_owned(), until: end };
    assert_eq!(ends, std::slice::from_ref(&noted));
    declare(&mut registry.rows, declared);
    // Declared by a release that noted no end: it is noted now.
    assert_eq!(names(&with(&registry, given(Some(end)), NOW)), ["tenant.declare"]);
    registry.overlaps = ends.clone();
    assert_eq!(with(&registry, given(Some(end)), NOW).steps, []);
    // A Secret that is taken away prolongs nothing.
    let waits = with(&registry, gone(), NOW);
    assert_eq!((waits.steps.as_slice(), waits.report.reason), (&[][..], "SecretMissing"));
    for secret in [gone(), given(None)] {
        let ended = with(&registry, secret, end);
        let [Step::Declare(_, declared, ends)] = &ended.steps[..] else { panic!("{:?}", ended.steps) };
        assert_eq!((&declared[0].spec["secret_sha256"], ends.len()), (&json!(["new"]), 0));
    }
}

#[test]
fn drift_a_new_name_and_a_shut_tenant_are_mended() {
    let drift =
        Drift { space: Space::Tenant(Product::Kms, id(ID)), kind: DriftKind::TableGrant, object: "kms_x".to_owned() };
    let desired = kept(tenant(json!({"displayName": "Acme"})));
    let mended = plan(&desired, &at(Registry { drift: vec![drift], ..served() }), NOW);
    assert_eq!(names(&mended), ["tenant.ensure-schemas", "tenant.rename"]);
    let shut = plan(&kept(tenant(json!({}))), &at(open(Some(row("acme", ID, UID, false)))), NOW);
    assert_eq!(names(&shut), ["tenant.retain", "tenant.adopt"]);
}

#[test]
fn deletion_by_policy_and_what_is_there() {
    let gone = || DatabaseSeen::Gone("the volume went with its namespace".to_owned());
    let dead = || DatabaseSeen::Unreachable("refused".to_owned());
    let shut = |change: &dyn Fn(&mut Registry)| {
        let mut registry = open(Some(row("acme", ID, UID, false)));
        change(&mut registry);
        at(registry)
    };
    let loser = Holder { row: row("acme", OTHER_ID, "another", true), owner_lives: true };
    let with = |database: DatabaseSeen| Observed { database, ..at(open(None)) };
    let long = Duration::from_mins(5);
    let leave = ["tenant.leave-behind", "tenant.remove-finalizer"].as_slice();
    let unwatched = || Observed {
        realm: RealmSeen::NotWatched(vec!["a".to_owned()]),
        deleting_for: long,
        ..with(DatabaseSeen::None)
    };
    let cases: [(&str, &str, Observed, &[&str], &str); 22] = [
        ("kept", "Retain", at(served()), &["tenant.retain", "tenant.remove-finalizer"], "Deleting"),
        ("shut first", "Delete", at(served()), &["tenant.disable"], "Deleting"),
        ("shut first", "Archive", at(served()), &["tenant.disable"], "Deleting"),
        ("one has not seen it", "Delete", shut(&|r| r.fresh[0].seen = 6), &[], "Deleting"),
        ("just fell silent", "Delete", shut(&|r| r.quiet_for = Some(Duration::from_secs(9))), &[], "Deleting"),
        (
            "silent",
            "Delete",
            shut(&|r| {
                r.fresh.clear();
                r.quiet_for = Some(Duration::from_secs(10));
            }),
            &["tenant.destroy", "tenant.remove-finalizer"],
            "Deleting",
        ),
        ("all have", "Delete", shut(&|_| ()), &["tenant.destroy", "tenant.remove-finalizer"], "Deleting"),
        ("all have", "Archive", shut(&|_| ()), &["tenant.archive", "tenant.remove-finalizer"], "Deleting"),
        (
            "a loser",
            "Delete",
            at(Registry { of_slug: Some(loser), ..open(None) }),
            &["tenant.remove-finalizer"],
            "Deleting",
        ),
        ("kept, dead", "Retain", with(dead()), leave, "Deleting"),
        ("dead", "Delete", with(dead()), &[], "DatabaseUnreachable"),
        ("dead", "Archive", with(dead()), &[], "DatabaseUnreachable"),
        ("gone", "Delete", with(gone()), leave, "Deleting"),
        ("gone", "Retain", with(gone()), leave, "Deleting"),
        ("no realm", "Delete", Observed::default(), leave, "Deleting"),
        ("not watched", "Delete", unwatched(), &[], "DatabaseUnreachable"),
        ("not watched", "Retain", unwatched(), leave, "Deleting"),
        ("just started", "Retain", with(DatabaseSeen::None), &[], "Deleting"),
        ("none", "Retain", Observed { deleting_for: long, ..with(DatabaseSeen::None) }, leave, "Deleting"),
        ("unprepared", "Retain", with(DatabaseSeen::Unprepared), &[], "Deleting"),
        ("none", "Delete", Observed { deleting_for: long, ..with(DatabaseSeen::None) }, &[], "DatabaseUnreachable"),
        (
            "not let in",
            "Delete",
            Observed { realm: RealmSeen::Refuses("x".into()), ..at(served()) },
            &["tenant.disable"],
            "Deleting",
        ),
    ];
    for (what, policy, observed, steps, reason) in cases {
        let plan = plan(&deleted(tenant(json!({"deletionPolicy": policy}))), &observed, NOW);
        assert_eq!((names(&plan).as_slice(), plan.report.reason), (steps, reason), "{what}, {policy}");
    }
    let mut bare = deleted(tenant(json!({"deletionPolicy": "Delete"})));
    bare.metadata.finalizers = None;
    assert!(plan(&bare, &at(served()), NOW).steps.is_empty(), "without our finalizer it is not ours to delete");
}
