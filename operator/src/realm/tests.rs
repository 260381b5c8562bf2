//! The plan, reason by reason, and over years.

mod deletion;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{Realm, RealmSpec};
use keyrealm_base::{DeploymentId, SystemClock, Timestamp};
use keyrealm_crypto::SystemRandom;
use serde_json::{Value, json};

use super::facts::*;
use super::plan::{Plan, Step, plan};
use super::wanted::Wanted;
use crate::child::{ChildKind, ChildRef};
use crate::children::config_map::Connection;
use crate::children::{Home, Part, secret};
use crate::config::Images;
use crate::report::{Report, State};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const UID: &str = "7b4c9d9e-0000-4000-8000-000000000001";

fn realm_of(database: Value, policy: &str) -> Realm {
    let spec: RealmSpec = serde_json::from_value(json!({
        "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"}, "database": database, "deletionPolicy": policy,
    }))
    .unwrap();
    let mut realm = Realm::new("main", spec);
    realm.metadata.namespace = Some("acme".to_owned());
    realm.metadata.uid = Some(UID.to_owned());
    realm
}

fn external() -> Realm {
    realm_of(json!({"external": {"secretRef": {"name": "postgres"}}}), "Retain")
}

fn managed() -> Realm {
    realm_of(json!({"managed": {}}), "Retain")
}

fn root() -> RootFacts {
    RootFacts {
        sha256: "root".to_owned(),
        not_after: NOW.plus(Duration::from_hours(87_600)),
        bundle_pem: "PEM".to_owned(),
        bundle_sha256: "bundle".to_owned(),
    }
}

fn leaf(realm: &Realm, part: Part, issued: Timestamp) -> LeafFacts {
    let home = Home::of(realm).unwrap();
    let wanted = Wanted::of(&home).unwrap();
    let spec = secret::leaf::spec(&home, part, wanted.leaf_lifetime);
    let not_after = issued.plus(wanted.leaf_lifetime);
    LeafFacts {
        names_hash: secret::leaf::names_hash(&spec, wanted.chain.algorithm, "root"),
        not_after,
        renewal: secret::leaf::renewal(not_after, wanted.renew_before, UID, part),
        chain_sha256: format!("chain-{}", part.name()),
        bundle_sha256: "bundle".to_owned(),
        intact: true,
    }
}

fn nothing() -> Observed {
    Observed {
        images: Images::default(),
        operator_namespace: "keyrealm-system".to_owned(),
        finalizer: true,
        deletion: None,
        conflict: None,
        adopts: false,
        known_before: false,
        managed_exists: false,
        root: Kept::Missing,
        admin: Kept::Missing,
        unseal: BTreeMap::new(),
        roles: BTreeMap::new(),
        leaves: BTreeMap::new(),
        database: DatabaseState::Starting("it starts".to_owned()),
        rollouts: BTreeMap::new(),
        optional: Vec::new(),
    }
}

fn database() -> DatabaseFacts {
    let instance = |part: Part| InstanceFacts {
        part,
        ready: true,
        chain_sha256: format!("chain-{}", part.name()),
        bundle_sha256: "bundle".to_owned(),
        seen: 7,
    };
    DatabaseFacts {
        connection: Connection {
            host: "db.test".to_owned(),
            port: 6432,
            database: "keyrealm".to_owned(),
            ca_pem: "CA".to_owned(),
        },
        deployment_id: DeploymentId::new(&SystemClock, &SystemRandom),
        logins: Part::SERVERS.iter().map(|part| (*part, format!("{}_login", part.name()))).collect(),
        used: UsedFacts {
            root_sha256: Some("root".to_owned()),
            kms_unseal: Some("kms".to_owned()),
            identity_unseal: Some("identity".to_owned()),
        },
        prepared: true,
        instances: Part::SERVERS.map(instance).to_vec(),
        settled: 7,
        tenants: 0,
        failure: None,
    }
}

/// A realm that serves.
fn serving(realm: &Realm) -> Observed {
    let rollout =
        Rollout { generation: 1, observed: 1, wanted: 1, total: 1, updated: 1, available: 1, hindrance: None };
    let mut leaves: BTreeMap<_, _> =
        Part::SERVERS.iter().map(|part| (*part, LeafSeen::Ours(leaf(realm, *part, NOW)))).collect();
    let is_managed = realm.spec.database.managed.is_some();
    if is_managed {
        leaves.insert(Part::Postgres, LeafSeen::Ours(leaf(realm, Part::Postgres, NOW)));
    }
    Observed {
        known_before: true,
        managed_exists: is_managed,
        root: Kept::There(root()),
        admin: if is_managed { Kept::There(()) } else { Kept::Missing },
        unseal: Part::SERVERS.iter().map(|part| (*part, Kept::There(part.name().to_owned()))).collect(),
        roles: Part::SERVERS.iter().map(|part| (*part, Kept::There(()))).collect(),
        leaves,
        database: DatabaseState::Ready(Box::new(database())),
        rollouts: Part::SERVERS.iter().map(|part| (*part, rollout.clone())).collect(),
        ..nothing()
    }
}

fn with_database(mut observed: Observed, change: impl FnOnce(&mut DatabaseFacts)) -> Observed {
    let DatabaseState::Ready(database) = &mut observed.database else { panic!("no database") };
    change(database);
    observed
}

fn kinds(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(Step::name).collect()
}

fn has(plan: &Plan, kind: ChildKind, name: &str) -> bool {
    plan.children.iter().any(|child| child.at.kind == kind && child.at.name == name)
}

#[test]
fn a_realm_that_serves_has_nothing_to_do() {
    for realm in [external(), managed()] {
        let plan = plan(&realm, &serving(&realm), NOW);
        assert_eq!((kinds(&plan), &plan.report.state), (vec![], &State::Ready), "{:?}", plan.report);
        assert!(has(&plan, ChildKind::Deployment, "main-kms") && has(&plan, ChildKind::Deployment, "main-identity"));
    }
}

/// Step by step, each plan over what the one before made.
#[test]
fn from_nothing_to_the_deployments_in_order() {
    let realm = managed();
    let mut observed = Observed { finalizer: false, ..nothing() };
    let mut made = Vec::new();
    for _ in 0..12 {
        let plan = plan(&realm, &observed, NOW);
        assert_ne!(plan.report.state, State::Stalled, "{:?}", plan.report);
        for child in &plan.children {
            if child.at.kind == ChildKind::StatefulSet && !observed.managed_exists {
                made.push("stateful set");
                observed.managed_exists = true;
            }
            if child.at.kind == ChildKind::Deployment && !observed.rollouts.contains_key(&Part::Kms) {
                made.push("deployments");
                observed.rollouts = serving(&realm).rollouts;
            }
        }
        for step in &plan.steps {
            made.push(step.name());
            match step {
                Step::AddFinalizer => observed.finalizer = true,
                Step::CreateAdmin => observed.admin = Kept::There(()),
                Step::CreateRoot => observed.root = Kept::There(root()),
                Step::IssueLeaf(part, _) => {
                    observed.leaves.insert(*part, LeafSeen::Ours(leaf(&realm, *part, NOW)));
                }
                Step::CreateUnseal(part) => {
                    observed.unseal.insert(*part, Kept::There(part.name().to_owned()));
                }
                Step::CreateRole(part) => {
                    observed.roles.insert(*part, Kept::There(()));
                }
                Step::PrepareDatabase => observed = with_database(observed, |database| database.prepared = true),
                Step::MarkUsed => observed = with_database(observed, |database| database.used = self::database().used),
                other => panic!("{other:?}"),
            }
        }
        if observed.managed_exists && matches!(observed.database, DatabaseState::Starting(_)) {
            let fresh = DatabaseFacts { used: UsedFacts::default(), prepared: false, ..database() };
            observed.database = DatabaseState::Ready(Box::new(fresh));
        }
    }
    let position =
        |name: &str| made.iter().position(|made| *made == name).unwrap_or_else(|| panic!("{name}: {made:?}"));
    assert_eq!(position("realm.add-finalizer"), 0);
    for (first, then) in [
        ("realm.create-root-ca", "stateful set"),
        ("realm.create-admin", "stateful set"),
        ("stateful set", "realm.create-database-role"),
        ("realm.create-database-role", "realm.prepare-database"),
        ("realm.create-unseal-key", "realm.mark-used"),
        ("realm.prepare-database", "realm.mark-used"),
        ("realm.mark-used", "deployments"),
    ] {
        assert!(position(first) < position(then), "{first} before {then}: {made:?}");
    }
    assert_eq!(plan(&realm, &observed, NOW).report.state, State::Ready);
}

/// Each reason, from a realm that served a moment ago.
#[test]
fn every_reason_and_what_it_says() {
    type Change = Box<dyn Fn(&mut Observed)>;
    let failed = |reason: &'static str| DatabaseState::Failed(Report::reconciling(reason, "why"));
    let at = ChildRef::new(ChildKind::Secret, "acme", "postgres");
    let on_database = |change: fn(&mut DatabaseFacts)| -> Change {
        Box::new(move |observed| *observed = with_database(observed.clone(), change))
    };
    let rollout = |change: fn(&mut Rollout)| -> Change {
        Box::new(move |observed| change(observed.rollouts.get_mut(&Part::Kms).unwrap()))
    };
    let unreachable = failed("DatabaseUnreachable");
    let cases: Vec<(&str, State, &str, Change)> = vec![
        ("DatabaseUnreachable", State::Reconciling, "why", Box::new(move |o| o.database = unreachable.clone())),
        (
            "DatabaseUnreachable",
            State::Reconciling,
            "go on",
            on_database(|database| database.failure = Some("timeout".to_owned())),
        ),
        (
            "DatabaseSecretMissing",
            State::Stalled,
            "Secret acme/postgres",
            Box::new(move |o| o.database = DatabaseState::SecretMissing(at.clone())),
        ),
        ("DatabaseInUse", State::Stalled, "other/realm", Box::new(|o| o.conflict = Some("other/realm".to_owned()))),
        ("RootKeyMissing", State::Stalled, "kubectl apply", Box::new(|o| o.root = Kept::Missing)),
        (
            "RootKeyMissing",
            State::Stalled,
            "another root CA",
            Box::new(|o| o.root = Kept::There(RootFacts { sha256: "other".to_owned(), ..root() })),
        ),
        (
            "UnsealKeyMissing",
            State::Stalled,
            "kubectl apply --namespace acme --filename <backup of Secret main-kms-unseal>",
            Box::new(|o| drop(o.unseal.insert(Part::Kms, Kept::Missing))),
        ),
        (
            "UnsealKeyMissing",
            State::Stalled,
            "another key",
            Box::new(|o| drop(o.unseal.insert(Part::Identity, Kept::There("x".to_owned())))),
        ),
        (
            "UnsealKeyMissing",
            State::Stalled,
            "cannot be used: short",
            Box::new(|o| drop(o.unseal.insert(Part::Kms, Kept::Unusable("short".to_owned())))),
        ),
        (
            "RoleSecretMissing",
            State::Stalled,
            "main-identity-database",
            Box::new(|o| drop(o.roles.insert(Part::Identity, Kept::Missing))),
        ),
        (
            "ForeignObject",
            State::Stalled,
            "Secret acme/main-kms-unseal",
            Box::new(|o| drop(o.unseal.insert(Part::Kms, Kept::Foreign))),
        ),
        (
            "ForeignObject",
            State::Stalled,
            "keyrealm.dev/adopt",
            Box::new(|o| drop(o.unseal.insert(Part::Kms, Kept::Left))),
        ),
        (
            "ForeignObject",
            State::Stalled,
            "Secret acme/main-kms-tls",
            Box::new(|o| drop(o.leaves.insert(Part::Kms, LeafSeen::Foreign))),
        ),
        ("RolloutInProgress", State::Reconciling, "0 available", rollout(|rollout| rollout.available = 0)),
        ("RolloutInProgress", State::Reconciling, "of 1 pods", rollout(|rollout| rollout.observed = 0)),
        ("RolloutInProgress", State::Reconciling, "of 1 pods", rollout(|rollout| rollout.total = 2)),
        (
            "RolloutInProgress",
            State::Reconciling,
            "exceeded quota",
            rollout(|rollout| {
                rollout.updated = 0;
                rollout.hindrance = Some("exceeded quota".to_owned());
            }),
        ),
        ("RolloutInProgress", State::Reconciling, "being made", Box::new(|o| o.rollouts.clear())),
        (
            "InstancesNotReady",
            State::Reconciling,
            "1 were heard",
            on_database(|d| {
                d.instances.retain_mut(|one| {
                    one.ready &= one.part == Part::Identity;
                    true
                });
            }),
        ),
        (
            "InstancesNotReady",
            State::Reconciling,
            "kms",
            on_database(|d| d.instances.retain(|one| one.part == Part::Identity)),
        ),
        (
            "InstancesNotReady",
            State::Reconciling,
            "",
            on_database(|d| d.instances.iter_mut().for_each(|one| one.chain_sha256 = "old".to_owned())),
        ),
        (
            "InstancesNotReady",
            State::Reconciling,
            "",
            on_database(|d| d.instances.iter_mut().for_each(|one| one.bundle_sha256 = "old".to_owned())),
        ),
        ("InstancesNotReady", State::Reconciling, "", on_database(|d| d.settled = 8)),
    ];
    let realm = external();
    for (reason, state, says, change) in cases {
        let mut observed = serving(&realm);
        change(&mut observed);
        let plan = plan(&realm, &observed, NOW);
        assert_eq!((plan.report.reason, &plan.report.state), (reason, &state), "{says}: {:?}", plan.report);
        assert!(plan.report.message.contains(says), "{says}: {}", plan.report.message);
        let makes = |step: &Step| matches!(step, Step::CreateRoot | Step::CreateUnseal(_) | Step::CreateRole(_));
        assert!(!plan.steps.iter().any(makes), "{reason}: nothing irreplaceable is made anew: {:?}", plan.steps);
    }
}

/// Before the marks are written nobody can have used them; afterwards nothing is made anew.
#[test]
fn a_secret_is_made_anew_only_while_the_registry_says_that_nobody_used_it() {
    for realm in [external(), managed()] {
        let lose = |used: bool| {
            let mut observed = serving(&realm);
            observed.root = Kept::Missing;
            (observed.unseal, observed.roles) = (BTreeMap::new(), BTreeMap::new());
            let observed = with_database(observed, |database| {
                if !used {
                    database.used = UsedFacts::default();
                }
            });
            plan(&realm, &observed, NOW)
        };
        let fresh = lose(false);
        assert!(fresh.steps.contains(&Step::CreateRoot) && fresh.steps.contains(&Step::CreateUnseal(Part::Kms)));
        assert!(fresh.steps.contains(&Step::CreateRole(Part::Identity)));
        let used = lose(true);
        assert_eq!((used.steps.len(), used.report.state), (0, State::Stalled));
    }
    // And when the managed database cannot be asked, that it exists is enough to make nothing.
    let realm = managed();
    for (exists, known) in [(true, false), (false, true)] {
        let observed = Observed { managed_exists: exists, known_before: known, ..nothing() };
        let plan = plan(&realm, &observed, NOW);
        assert!(plan.steps.is_empty() && plan.report.state == State::Stalled, "{plan:?}");
    }
}

#[test]
fn an_external_database_is_asked_before_anything_irreplaceable_is_made() {
    let realm = external();
    let observed = Observed {
        database: DatabaseState::Failed(Report::reconciling("DatabaseUnreachable", "it is silent")),
        ..nothing()
    };
    let plan = plan(&realm, &observed, NOW);
    assert_eq!((kinds(&plan), plan.report.reason), (vec![], "DatabaseUnreachable"));
}

#[test]
fn a_deployment_waits_for_all_that_its_pods_mount() {
    let realm = external();
    let complete = serving(&realm);
    let deployments = |observed: &Observed| {
        plan(&realm, observed, NOW).children.iter().filter(|child| child.at.kind == ChildKind::Deployment).count()
    };
    assert_eq!(deployments(&complete), 2);
    let unmarked = with_database(complete.clone(), |database| database.used.kms_unseal = None);
    assert_eq!(deployments(&unmarked), 0);
    assert_eq!(kinds(&plan(&realm, &unmarked, NOW)), ["realm.mark-used"]);
    let unprepared = with_database(complete.clone(), |database| database.prepared = false);
    assert_eq!(deployments(&unprepared), 0);
    let mut leafless = complete;
    leafless.leaves.remove(&Part::Kms);
    assert_eq!(deployments(&leafless), 1);
}

#[test]
fn a_certificate_is_issued_anew_for_every_reason() {
    let realm = external();
    let reason = |change: fn(&mut LeafFacts)| {
        let mut facts = leaf(&realm, Part::Kms, NOW);
        change(&mut facts);
        let mut observed = serving(&realm);
        observed.leaves.insert(Part::Kms, LeafSeen::Ours(facts));
        match plan(&realm, &observed, NOW).steps.as_slice() {
            [] => None,
            [Step::IssueLeaf(Part::Kms, reason)] => Some(*reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason(|_| {}), None);
    assert_eq!(reason(|leaf| leaf.intact = false), Some("somebody changed it"));
    assert_eq!(reason(|leaf| leaf.names_hash.push('x')), Some("other names or another CA are wanted"));
    assert_eq!(reason(|leaf| leaf.bundle_sha256.push('x')), Some("there is another trust bundle"));
    assert_eq!(reason(|leaf| leaf.renewal = NOW), Some("it ends soon"));
    let mut other = external();
    other.spec.tls.algorithm = crds::TlsAlgorithm::P384;
    assert_eq!(plan(&other, &serving(&realm), NOW).steps.len(), 2, "both servers");
}

/// Ten years, a day at a time: each leaf is renewed some 60 days after it was issued, once each time, and is never over.
#[test]
fn years_of_renewals() {
    let realm = external();
    let mut observed = serving(&realm);
    let mut issued: BTreeMap<Part, Vec<Timestamp>> = BTreeMap::new();
    let day = Duration::from_hours(24);
    let mut now = NOW;
    let end = NOW.plus(Duration::from_hours(24 * 3600));
    while now < end {
        let plan = plan(&realm, &observed, now);
        for step in &plan.steps {
            let Step::IssueLeaf(part, reason) = step else { panic!("{step:?}") };
            assert_eq!(*reason, "it ends soon");
            issued.entry(*part).or_default().push(now);
            observed.leaves.insert(*part, LeafSeen::Ours(leaf(&realm, *part, now)));
        }
        for leaf in observed.leaves.values() {
            let LeafSeen::Ours(leaf) = leaf else { panic!() };
            assert!(leaf.not_after > now.plus(Duration::from_hours(24 * 28)), "never near its end");
        }
        assert!(plan.requeue <= super::plan::RESYNC, "somebody looks");
        now = now.plus(day);
    }
    for times in issued.values() {
        // 90 days, renewed 30 to 33 before the end.
        assert!((58..=64).contains(&times.len()), "{}", times.len());
    }
    assert_ne!(issued[&Part::Kms][0], issued[&Part::Identity][0], "not all at once");
}

#[test]
fn what_an_earlier_realm_left_is_taken_when_the_realm_says_so() {
    let realm = external();
    let mut observed = serving(&realm);
    observed.adopts = true;
    observed.unseal.insert(Part::Kms, Kept::Left);
    observed.roles.insert(Part::Kms, Kept::Left);
    observed.root = Kept::Left;
    let plan = plan(&realm, &observed, NOW);
    assert_eq!(kinds(&plan), ["realm.adopt-secret"; 3]);
    assert_ne!(plan.report.state, State::Stalled);
}

#[test]
fn what_is_not_wanted_any_more_is_removed() {
    let mut realm = external();
    realm.spec.network_policy.enabled = false;
    let mut observed = serving(&realm);
    let at = |kind| ChildRef::new(kind, "acme", "main-kms");
    observed.optional = vec![at(ChildKind::PodDisruptionBudget), at(ChildKind::NetworkPolicy)];
    assert_eq!(kinds(&plan(&realm, &observed, NOW)), ["realm.remove-child"; 2]);
    realm.spec.network_policy.enabled = true;
    realm.spec.kms.replicas = Some(2);
    assert!(plan(&realm, &observed, NOW).steps.is_empty());
}

#[test]
fn a_specification_that_cannot_be_is_named() {
    let stalled = |change: fn(&mut RealmSpec)| {
        let mut realm = external();
        change(&mut realm.spec);
        let plan = plan(&realm, &serving(&external()), NOW);
        assert_eq!((plan.report.reason, &plan.report.state), ("InvalidSpec", &State::Stalled), "{:?}", plan.report);
        assert!(plan.steps.is_empty() && plan.children.is_empty());
        plan.report.message
    };
    assert!(stalled(|spec| spec.hostnames.kms = "KMS".to_owned()).contains("hostnames.kms"));
    assert!(stalled(|spec| spec.hostnames.kms = "a:b".to_owned()).contains("host:port"));
    assert!(stalled(|spec| spec.hostnames.kms = "kms.test:8443".to_owned()).contains("8443"));
    assert!(stalled(|spec| spec.hostnames.kms = spec.hostnames.identity.clone()).contains("same"));
    assert!(stalled(|spec| spec.tls.renew_before = "2160h".to_owned()).contains("tls.renewBefore"));
    assert!(stalled(|spec| spec.tls.leaf_lifetime = "9999h".to_owned()).contains("398"));
    assert!(stalled(|spec| spec.tls.leaf_lifetime = "90d".to_owned()).contains("90d"));
}

/// Two Realms of the same second: which one looks older says nothing, the database does.
#[test]
fn who_finds_the_database_taken_gets_no_finalizer() {
    let taken = DatabaseState::Failed(Report::stalled("DatabaseInUse", "theirs"));
    let plan = plan(&external(), &Observed { database: taken, finalizer: false, ..nothing() }, NOW);
    assert!(plan.report.reason == "DatabaseInUse" && !plan.steps.contains(&Step::AddFinalizer), "{plan:?}");
}
