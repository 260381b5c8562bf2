//! What is done for a Realm that goes.

use super::*;

/// Policy, database and what else is going on.
#[test]
fn the_deletion_matrix() {
    let deletion = || Deletion {
        since: NOW,
        keepsakes: vec![ChildRef::new(ChildKind::Secret, "acme", "main-root-ca")],
        ..Deletion::default()
    };
    let retain = external();
    let delete = realm_of(json!({"external": {"secretRef": {"name": "postgres"}}}), "Delete");
    let on_managed = realm_of(json!({"managed": {}}), "Delete");
    let failed = |reason| DatabaseState::Failed(Report::reconciling(reason, "why"));
    let gone = || DatabaseState::SecretMissing(ChildRef::new(ChildKind::Secret, "acme", "postgres"));
    let run = |realm: &Realm, deletion: Deletion, state: Option<DatabaseState>| {
        let mut observed = Observed { deletion: Some(deletion), ..serving(realm) };
        observed = with_database(observed, |database| database.instances.clear());
        if let Some(state) = state {
            observed.database = state;
        }
        plan(realm, &observed, NOW)
    };
    // Retain asks nobody.
    for state in [None, Some(failed("DatabaseUnreachable")), Some(gone())] {
        assert_eq!(run(&retain, deletion(), state).steps, [Step::Release(None)]);
    }
    // Delete on an external database.
    let dropped = run(&delete, deletion(), None);
    assert_eq!(kinds(&dropped), ["realm.drop-database", "realm.remove-secret", "realm.release"]);
    for reason in ["DatabaseUnreachable", "DatabaseRefused"] {
        let blocked = run(&delete, deletion(), Some(failed(reason)));
        assert_eq!((blocked.steps.len(), blocked.report.reason), (0, reason));
        assert!(blocked.report.message.contains("deletionPolicy"), "{}", blocked.report.message);
    }
    let released = run(&delete, deletion(), Some(gone()));
    let Some(Step::Release(Some(left))) = released.steps.last() else { panic!("{released:?}") };
    assert!(left.contains("Secret acme/postgres is gone"));
    let other = run(&delete, deletion(), Some(failed("DatabaseInUse")));
    assert!(!other.steps.contains(&Step::DropDatabase) && matches!(other.steps.last(), Some(Step::Release(Some(_)))));
    // What is not there any more needs no drop; what never was there leaves its Secrets alone.
    for (known_before, steps) in [(true, vec!["realm.remove-secret", "realm.release"]), (false, vec!["realm.release"])]
    {
        let database = failed("DatabaseEmpty");
        let observed = Observed { deletion: Some(deletion()), known_before, database, ..serving(&delete) };
        assert_eq!(kinds(&plan(&delete, &observed, NOW)), steps);
    }
    // The servers end first.
    let servers = vec![ChildRef::new(ChildKind::Deployment, "acme", "main-kms")];
    let first = run(&delete, Deletion { servers, ..deletion() }, None);
    assert_eq!(kinds(&first), ["realm.remove-child"]);
    let beating = Observed { deletion: Some(deletion()), ..serving(&delete) };
    assert!(plan(&delete, &beating, NOW).steps.is_empty(), "their processes are waited for");
    let silent = plan(&delete, &beating, NOW.plus(Duration::from_secs(61)));
    assert!(silent.steps.contains(&Step::DropDatabase), "but not for ever");
    // Tenants use the database for their own end first, bounded.
    for realm in [&retain, &delete] {
        let tenants = Deletion { tenants_ending: 1, ..deletion() };
        assert!(run(realm, tenants.clone(), None).steps.is_empty());
        let later = Deletion { since: NOW.minus(Duration::from_secs(61)), ..tenants };
        assert!(matches!(run(realm, later, None).steps.last(), Some(Step::Release(None))));
    }
    // A managed database goes with its volume, and nobody is asked.
    let with_volume = run(&on_managed, deletion(), Some(failed("DatabaseUnreachable")));
    assert_eq!(kinds(&with_volume), ["realm.ensure-stateful-set", "realm.remove-secret", "realm.release"]);
    let mut observed = Observed { deletion: Some(deletion()), ..serving(&on_managed) };
    observed.managed_exists = false;
    assert!(matches!(plan(&on_managed, &observed, NOW).steps.last(), Some(Step::Release(Some(_)))));
    // Without our finalizer nothing is ours to do.
    observed.finalizer = false;
    assert!(plan(&on_managed, &observed, NOW).steps.is_empty());
}

/// Deletion comes before every other gate.
#[test]
fn a_realm_that_could_never_be_made_can_be_deleted() {
    let mut realm = external();
    realm.spec.hostnames.kms = "NOT A NAME".to_owned();
    let observed = Observed {
        deletion: Some(Deletion { since: NOW, ..Deletion::default() }),
        conflict: Some("other/realm".to_owned()),
        ..nothing()
    };
    assert_eq!(plan(&realm, &observed, NOW).steps, [Step::Release(None)]);
}
