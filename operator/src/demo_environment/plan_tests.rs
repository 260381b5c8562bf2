use serde_json::{Value, json};

use super::*;
use crate::report::State;

const BORN: &str = "2026-01-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn demo(spec: Value) -> DemoEnvironment {
    serde_json::from_value(json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "DemoEnvironment",
        "metadata": {"namespace": "acme", "name": "shop", "uid": "u-1", "generation": 1, "creationTimestamp": BORN},
        "spec": spec,
    }))
    .unwrap()
}

/// The status after the plan, as the next pass finds it.
fn with_status(mut demo: DemoEnvironment, plan: &Plan) -> DemoEnvironment {
    demo.status = Some(crds::DemoEnvironmentStatus { reset_token: plan.reset_done.clone(), ..Default::default() });
    demo
}

/// A cluster that does what the steps say; what is deleted goes when it is told to.
#[derive(Default)]
struct World {
    observed: Observed,
    made: u32,
}

impl World {
    fn seen(&mut self, child: &Child) -> Seen {
        self.made += 1;
        Seen {
            uid: format!("made-{}", self.made),
            controller: Some(child.ownership.uid().to_owned()),
            annotations: child.annotations.clone(),
            ..Seen::default()
        }
    }

    fn apply(&mut self, demo: &DemoEnvironment, plan: &Plan) {
        let expansion = Expansion::new(demo);
        for step in &plan.steps {
            match step {
                Step::DeleteSelf => {}
                Step::DeleteTenant(at, _) => self.observed.tenants.get_mut(&at.name).unwrap().seen.deleting = true,
                Step::DeleteCredentials(..) => self.observed.credentials = None,
                Step::CreateCredentials => {
                    assert_eq!(self.observed.credentials, None);
                    let child = expansion.credentials(&plan.reset, &Default::default()).unwrap();
                    self.observed.credentials = Some(self.seen(&child));
                }
                Step::CompleteCredentials => {
                    let child = expansion.credentials(&plan.reset, &Default::default()).unwrap();
                    self.observed.credentials.as_mut().unwrap().annotations = child.annotations;
                }
                Step::Ensure(_) => panic!("children are not among the steps"),
            }
        }
        for child in &plan.children {
            let part = Part { seen: self.seen(child), report: None };
            if child.at.kind == ChildKind::Realm {
                self.observed.realm.get_or_insert(part);
            } else {
                let there = self.observed.tenants.entry(child.at.name.clone()).or_insert(part);
                assert!(!there.seen.deleting, "one that is leaving is not written");
                there.seen.annotations = child.annotations.clone();
            }
        }
    }

    fn finish_deletions(&mut self) {
        self.observed.tenants.retain(|_, tenant| !tenant.seen.deleting);
    }

    fn all_ready(&mut self) {
        let parts = self.observed.tenants.values_mut().chain(&mut self.observed.realm);
        parts.for_each(|part| part.report = Some(Said::ready()));
    }

    fn settle(&mut self, demo: &DemoEnvironment) -> DemoEnvironment {
        let mut demo = demo.clone();
        for _ in 0..8 {
            let plan = plan(&demo, &self.observed, at(BORN));
            self.apply(&demo, &plan);
            self.finish_deletions();
            demo = with_status(demo, &plan);
            if plan.steps.is_empty() {
                self.all_ready();
                return demo;
            }
        }
        panic!("it does not come to rest");
    }

    fn ids(&self) -> Vec<(&str, &str)> {
        self.observed.tenants.iter().map(|(name, tenant)| (name.as_str(), tenant.seen.uid.as_str())).collect()
    }
}

/// The children that are written, by name.
fn children(plan: &Plan) -> Vec<&str> {
    plan.children.iter().map(|child| child.at.name.as_str()).collect()
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(Step::name).collect()
}

#[test]
fn it_expands_passwords_first_and_then_rests() {
    let demo = demo(json!({"ttl": "8h"}));
    let mut world = World::default();
    let first = plan(&demo, &world.observed, at(BORN));
    assert_eq!((names(&first), children(&first)), (vec!["demo.create-credentials"], vec!["shop", "shop-1", "shop-2"]));
    assert_eq!(
        (first.report.reason, first.report.message.as_str()),
        ("RealmNotReady", "Realm acme/shop is being made")
    );
    world.apply(&demo, &first);
    let second = plan(&demo, &world.observed, at(BORN));
    assert_eq!(names(&second), [""; 0], "nothing more is to be done");
    assert_eq!(second.report.state, State::Reconciling);
    world.all_ready();
    let rest = plan(&demo, &world.observed, at(BORN));
    assert_eq!((rest.report.state, rest.steps.len(), rest.requeue), (State::Ready, 0, LOOK));
    assert_eq!(second.requeue, SOON);
    assert_eq!(rest.credentials_secret.as_deref(), Some("shop-demo-credentials"));
    assert_eq!(rest.expires, Some(at("2026-01-01T08:00:00Z")));
}

/// The second tenant's trouble is told in its own words, under its own reason.
#[test]
fn the_first_that_is_not_ready_speaks() {
    let demo = demo(json!({}));
    let mut world = World::default();
    world.settle(&demo);
    let said = |state, reason: &str| Said { state, reason: reason.to_owned(), message: "as it is".to_owned() };
    world.observed.tenants.get_mut("shop-2").unwrap().report = Some(said(State::Stalled, "SlugTaken"));
    let report = plan(&demo, &world.observed, at(BORN)).report;
    assert_eq!(report, Report::stalled("SlugTaken", "Tenant acme/shop-2: as it is"));
    world.observed.realm.as_mut().unwrap().report = Some(said(State::Reconciling, "DatabaseUnreachable"));
    let report = plan(&demo, &world.observed, at(BORN)).report;
    assert_eq!(report, Report::reconciling("DatabaseUnreachable", "Realm acme/shop: as it is"));
    // A reason of a later version.
    world.observed.realm.as_mut().unwrap().report = Some(said(State::Reconciling, "Unheard"));
    assert_eq!(plan(&demo, &world.observed, at(BORN)).report.reason, "RealmNotReady");
    world.observed.realm.as_mut().unwrap().report = None;
    let report = plan(&demo, &world.observed, at(BORN)).report;
    assert!(report.state == State::Reconciling && report.message.contains("Realm acme/shop"), "{report:?}");
}

/// Ended at any point and begun again, it goes the same way: what is there says how far it is.
#[test]
fn a_new_reset_token_makes_new_tenants_and_passwords() {
    let mut world = World::default();
    let before = world.settle(&demo(json!({})));
    assert_eq!(before.status.as_ref().unwrap().reset_token, None);
    let old: Vec<String> = world.ids().iter().map(|(_, uid)| (*uid).to_owned()).collect();
    let (old_secret, realm) = (world.observed.credentials.clone(), world.observed.realm.clone());

    let mut demo = before;
    demo.spec.reset_token = Some("again".to_owned());
    let deleting = plan(&demo, &world.observed, at(BORN));
    assert_eq!(names(&deleting), ["demo.delete-tenant", "demo.delete-tenant"], "the passwords stay as long as they do");
    assert_eq!(deleting.report.reason, "Resetting");
    world.apply(&demo, &deleting);
    let waiting = plan(&demo, &world.observed, at(BORN));
    assert_eq!(names(&waiting), [""; 0]);
    assert!(waiting.report.message.contains("acme/shop-1 is being deleted"), "{:?}", waiting.report);
    assert_eq!(children(&waiting), ["shop"], "the Realm is kept meanwhile");
    world.observed.tenants.remove("shop-1");
    let half = plan(&demo, &world.observed, at(BORN));
    assert_eq!((names(&half), children(&half)), (vec![], vec!["shop"]), "it waits for the last one");
    assert_eq!(half.reset_done, None);
    world.finish_deletions();
    let secret = plan(&demo, &world.observed, at(BORN));
    assert_eq!(names(&secret), ["demo.delete-credentials"]);
    assert_eq!((secret.report.reason, children(&secret)), ("Resetting", vec!["shop"]));

    let after = world.settle(&demo);
    assert_eq!(after.status.as_ref().unwrap().reset_token.as_deref(), Some("again"));
    assert!(world.ids().iter().all(|(_, uid)| !old.contains(&(*uid).to_owned())), "{:?}", world.ids());
    assert_ne!(world.observed.credentials, old_secret);
    assert_eq!(world.observed.realm.as_ref().map(|realm| &realm.seen), realm.as_ref().map(|realm| &realm.seen));
    assert_eq!(plan(&after, &world.observed, at(BORN)).report.state, State::Ready);

    // Taking the token away is no new one.
    let mut without = after;
    without.spec.reset_token = None;
    let rest = plan(&without, &world.observed, at(BORN));
    assert_eq!((names(&rest), rest.reset_done.as_deref()), (vec![], Some("again")));
}

#[test]
fn tenants_come_and_go_with_the_number() {
    let mut world = World::default();
    let two = world.settle(&demo(json!({})));
    let secret = world.observed.credentials.clone().unwrap().uid;
    let mut four = two.clone();
    four.spec.tenants = 4;
    let grown = plan(&four, &world.observed, at(BORN));
    assert_eq!(names(&grown), ["demo.complete-credentials"]);
    assert_eq!(children(&grown), ["shop", "shop-1", "shop-2", "shop-3", "shop-4"]);
    world.settle(&four);
    assert_eq!(world.observed.tenants.len(), 4);
    assert_eq!(world.observed.credentials.clone().unwrap().uid, secret, "passwords that are in use stay");

    let mut one = four;
    one.spec.tenants = 1;
    let shrunk = plan(&one, &world.observed, at(BORN));
    assert_eq!(names(&shrunk).iter().filter(|name| **name == "demo.delete-tenant").count(), 3);
    world.apply(&one, &shrunk);
    let waiting = plan(&one, &world.observed, at(BORN));
    assert_eq!((names(&waiting), waiting.report.reason), (vec![], "Deleting"));
    // One that is still going is not taken back, but made anew once it has gone.
    let back = plan(&two, &world.observed, at(BORN));
    assert_eq!((names(&back), children(&back)), (vec!["demo.complete-credentials"], vec!["shop", "shop-1"]));
    world.finish_deletions();
    world.settle(&one);
    assert_eq!(world.ids().len(), 1);
    let back = plan(&two, &world.observed, at(BORN));
    assert_eq!(children(&back), ["shop", "shop-1", "shop-2"]);
}

#[test]
fn it_ends_when_its_time_is_over_whatever_else_is_wrong() {
    let demo = demo(json!({"ttl": "1h30m"}));
    let mut world = World::default();
    world.settle(&demo);
    let last = plan(&demo, &world.observed, at("2026-01-01T01:29:59Z"));
    assert_eq!((last.steps.len(), last.requeue), (0, Duration::from_secs(1)));
    let early = plan(&demo, &world.observed, at("2026-01-01T00:00:01Z"));
    assert_eq!(early.requeue, LOOK, "a clock that is put forward is noticed");
    world.observed.realm.as_mut().unwrap().seen.controller = Some("another".to_owned());
    let over = plan(&demo, &world.observed, at("2026-01-01T01:30:00Z"));
    assert_eq!((names(&over), over.report.reason), (vec!["demo.delete-self"], "Expired"));
    assert_eq!(children(&over), [""; 0]);

    let mut leaving = demo.clone();
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!(BORN)).unwrap();
    let leaving = plan(&leaving, &Observed::default(), at("2026-01-01T02:00:00Z"));
    assert_eq!((names(&leaving), leaving.report.reason), (vec![], "Deleting"));
    assert_eq!(children(&leaving), [""; 0], "nothing is made any more");

    for ttl in ["soon", "-1h", "1e300h"] {
        let wrong = plan(&self::demo(json!({"ttl": ttl})), &world.observed, at(BORN));
        assert_eq!((names(&wrong), wrong.report.reason), (vec![], "InvalidSpec"), "{ttl}");
    }
}

#[test]
fn what_is_of_others_is_named_and_nothing_is_touched() {
    let theirs = Seen { uid: "x".to_owned(), controller: Some("another".to_owned()), ..Seen::default() };
    let nobodys = Seen { uid: "x".to_owned(), ..Seen::default() };
    let part = |seen: &Seen| Part { seen: seen.clone(), report: Some(Said::ready()) };
    let cases: [(&str, Observed); 3] = [
        ("Realm acme/shop ", Observed { realm: Some(part(&nobodys)), ..Observed::default() }),
        (
            "Tenant acme/shop-2 ",
            Observed { tenants: BTreeMap::from([("shop-2".to_owned(), part(&theirs))]), ..Observed::default() },
        ),
        ("Secret acme/shop-demo-credentials ", Observed { credentials: Some(theirs.clone()), ..Observed::default() }),
    ];
    for (name, observed) in cases {
        let plan = plan(&demo(json!({"resetToken": "again"})), &observed, at(BORN));
        assert_eq!((names(&plan), children(&plan), plan.report.reason), (vec![], vec![], "ForeignObject"));
        assert!(plan.report.message.starts_with(name), "{}", plan.report.message);
        assert!(plan.report.message.contains("kubectl --namespace acme delete "), "{}", plan.report.message);
    }
    // One that has a name which is not needed is nobody's business.
    let other = BTreeMap::from([("shop-3".to_owned(), part(&theirs))]);
    let plan = plan(&demo(json!({})), &Observed { tenants: other, ..Observed::default() }, at(BORN));
    assert_eq!(children(&plan), ["shop", "shop-1", "shop-2"]);
}

#[test]
fn without_a_seed_there_are_no_passwords() {
    let mut world = World::default();
    let seeded = world.settle(&demo(json!({})));
    let mut none = seeded;
    none.spec.seed = crds::SeedSet::None;
    let plan = plan(&none, &world.observed, at(BORN));
    assert_eq!((names(&plan), plan.credentials_secret), (vec!["demo.delete-credentials"], None));
}
