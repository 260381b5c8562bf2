//! What follows from a DemoEnvironment, what is there of it, and the time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{Condition, ConditionStatus, DemoEndpoints, DemoEnvironment, READY, STALLED};
use keyrealm_base::Timestamp;

use super::expand::{COVERS, Expansion, RESET_TOKEN};
use crate::child::{Child, ChildKind, ChildRef, Seen};
use crate::duration;
use crate::report::{REASONS, Report, State};

/// While its parts are not ready.
const SOON: Duration = Duration::from_secs(5);
/// The longest that a DemoEnvironment goes unlooked at before its end.
const LOOK: Duration = Duration::from_hours(1);

/// How a Realm or Tenant says that it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How it stands.
    pub state: State,
    /// The reason of its Ready condition.
    pub reason: String,
    /// That condition's message.
    pub message: String,
}

impl Said {
    /// What the conditions say, if they are of this generation.
    #[must_use]
    pub fn of(conditions: &[Condition], generation: Option<i64>) -> Option<Self> {
        let find = |kind: &str| conditions.iter().find(|condition| condition.kind == kind);
        let ready = find(READY).filter(|ready| Some(ready.observed_generation) == generation)?;
        let holds = |condition: &Condition| condition.status == ConditionStatus::True;
        let state = match find(STALLED) {
            _ if holds(ready) => State::Ready,
            Some(stalled) if holds(stalled) => State::Stalled,
            _ => State::Reconciling,
        };
        Some(Self { state, reason: ready.reason.clone(), message: ready.message.clone() })
    }

    #[cfg(test)]
    fn ready() -> Self {
        Self { state: State::Ready, reason: READY.to_owned(), message: String::new() }
    }
}

/// A Realm or Tenant that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its metadata.
    pub seen: Seen,
    /// How it stands, if that was said of its newest generation.
    pub report: Option<Said>,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The Realm of the DemoEnvironment's name, whoever's it is.
    pub realm: Option<Part>,
    /// Tenants by name: those that it has, and those of others that have a name that it takes.
    pub tenants: BTreeMap<String, Part>,
    /// The credentials Secret, whoever's it is.
    pub credentials: Option<Seen>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The DemoEnvironment itself goes, and by its references all that is of it.
    DeleteSelf,
    /// A Tenant goes: one too many, or one of before the reset.
    DeleteTenant(ChildRef, Seen),
    /// The passwords of before a reset go, or those that nobody needs.
    DeleteCredentials(ChildRef, Seen),
    /// Passwords and client secrets are drawn.
    CreateCredentials,
    /// Those of tenants that came are drawn, those of tenants that went are taken away.
    CompleteCredentials,
    /// A Realm or Tenant is made or put right.
    Ensure(Box<Child>),
}

impl Step {
    /// The names of all steps.
    pub const NAMES: &[&str] = &[
        "demo.delete-self",
        "demo.delete-tenant",
        "demo.delete-credentials",
        "demo.create-credentials",
        "demo.complete-credentials",
        "demo.ensure-realm",
        "demo.ensure-tenant",
    ];

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeleteSelf => "demo.delete-self",
            Self::DeleteTenant(..) => "demo.delete-tenant",
            Self::DeleteCredentials(..) => "demo.delete-credentials",
            Self::CreateCredentials => "demo.create-credentials",
            Self::CompleteCredentials => "demo.complete-credentials",
            Self::Ensure(child) if matches!(child.at.kind, ChildKind::Realm) => "demo.ensure-realm",
            Self::Ensure(_) => "demo.ensure-tenant",
        }
    }
}

/// What is done and said.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// Realm and Tenants that shall be as they are here, after the steps; each is written only where it differs.
    pub children: Vec<Child>,
    /// How it stands before that.
    pub report: Report,
    /// Where the servers are.
    pub endpoints: DemoEndpoints,
    /// The name of the Secret with the credentials.
    pub credentials_secret: Option<String>,
    /// Its end.
    pub expires: Option<Timestamp>,
    /// The reset token that is in force.
    pub reset: String,
    /// The reset token that was carried out last.
    pub reset_done: Option<String>,
    /// When it is looked at again even if nothing changes.
    pub requeue: Duration,
}

/// The plan.
#[must_use]
pub fn plan(desired: &DemoEnvironment, observed: &Observed, now: Timestamp) -> Plan {
    let expansion = Expansion::new(desired);
    let done = desired.status.as_ref().and_then(|status| status.reset_token.clone());
    // Without one, the last one stays in force: taking the token away resets nothing.
    let reset = desired.spec.reset_token.clone().or_else(|| done.clone()).unwrap_or_default();
    let mut plan = Plan {
        steps: Vec::new(),
        children: Vec::new(),
        report: Report::ready(""),
        endpoints: expansion.endpoints(),
        credentials_secret: expansion.is_seeded().then(|| expansion.credentials_at().name),
        expires: None,
        reset,
        reset_done: done,
        requeue: LOOK,
    };
    let end = match expires(desired) {
        Ok(end) => end,
        Err(report) => return Plan { report, ..plan },
    };
    plan.expires = end;
    let left = end.map_or(LOOK, |end| end.since(now).min(LOOK));
    plan.requeue = left.max(Duration::from_secs(1));
    if desired.metadata.deletion_timestamp.is_some() {
        plan.report =
            Report::reconciling("Deleting", "it is being deleted, and with it its Realm, Tenants and Secrets");
    } else if end.is_some_and(|end| end <= now) {
        let ttl = desired.spec.ttl.as_deref().unwrap_or_default();
        plan.report = Report::reconciling("Expired", format!("its ttl of {ttl} is over: it is being deleted"));
        plan.steps.push(Step::DeleteSelf);
    } else if let Some(foreign) = foreign(&expansion, observed) {
        plan.report = foreign;
    } else {
        expand(&expansion, observed, &mut plan);
    }
    plan
}

/// Its end, if it has one.
fn expires(desired: &DemoEnvironment) -> Result<Option<Timestamp>, Report> {
    let Some(ttl) = &desired.spec.ttl else { return Ok(None) };
    let Some(length) = duration::positive(ttl) else {
        let message = format!("spec.ttl {ttl}: expected a duration as 8h or 90m, more than nothing");
        return Err(Report::stalled("InvalidSpec", message));
    };
    let made = desired.metadata.creation_timestamp.as_ref();
    Ok(made.map(|made| Timestamp::from_millis(made.0.as_millisecond()).plus(length)))
}

/// Something of others that has a name that is needed. Then nothing at all is touched.
fn foreign(expansion: &Expansion<'_>, observed: &Observed) -> Option<Report> {
    let ownership = expansion.ownership();
    let realm = observed.realm.as_ref().map(|realm| (expansion.realm_at(), &realm.seen));
    let tenants = (1..=expansion.tenants()).filter_map(|number| {
        let at = expansion.tenant_at(number);
        observed.tenants.get(&at.name).map(|tenant| (at, &tenant.seen))
    });
    let credentials = observed.credentials.as_ref().filter(|_| expansion.is_seeded());
    let credentials = credentials.map(|seen| (expansion.credentials_at(), seen));
    let mut all = realm.into_iter().chain(tenants).chain(credentials);
    let (at, _) = all.find(|(_, seen)| !seen.belongs_to(&ownership))?;
    let kind = at.kind.api().1.to_lowercase();
    let message = format!(
        "{at} is not of this DemoEnvironment and is left alone: give the DemoEnvironment another name, or delete that one \
         if nobody needs it: kubectl --namespace {} delete {kind} {}",
        at.namespace, at.name
    );
    Some(Report::stalled("ForeignObject", message))
}

fn expand(expansion: &Expansion<'_>, observed: &Observed, plan: &mut Plan) {
    let ownership = expansion.ownership();
    let own: BTreeMap<&str, &Part> = observed
        .tenants
        .iter()
        .filter(|(_, tenant)| tenant.seen.belongs_to(&ownership))
        .map(|(name, tenant)| (name.as_str(), tenant))
        .collect();
    let realm = match expansion.realm() {
        Ok(realm) => realm,
        Err(error) => {
            plan.report = Report::stalled("InvalidSpec", format!("spec.realm cannot be written into a Realm: {error}"));
            return;
        }
    };
    // Passwords come first: the tenants ask for them.
    let old = |seen: &Seen| expansion.demo.spec.reset_token.is_some() && token(seen) != plan.reset;
    let from_before: Vec<&str> = own.iter().filter(|(_, tenant)| old(&tenant.seen)).map(|(name, _)| *name).collect();
    let mut resetting =
        from_before.first().map(|name| format!("Tenant {}/{name} is being deleted", expansion.namespace));
    let mut steps = Vec::new();
    if resetting.is_none() {
        match &observed.credentials {
            Some(seen) if !seen.belongs_to(&ownership) => {}
            Some(seen) if old(seen) => {
                resetting = Some(format!("{} is being deleted", expansion.credentials_at()));
                if !seen.deleting {
                    steps.push(Step::DeleteCredentials(expansion.credentials_at(), seen.clone()));
                }
            }
            Some(seen) if seen.deleting => {}
            Some(seen) if !expansion.is_seeded() => {
                steps.push(Step::DeleteCredentials(expansion.credentials_at(), seen.clone()));
            }
            Some(seen) => {
                let covers = seen.annotations.get(COVERS).map(String::as_str);
                if covers != Some(expansion.tenants().to_string().as_str()) {
                    steps.push(Step::CompleteCredentials);
                }
            }
            None if expansion.is_seeded() => steps.push(Step::CreateCredentials),
            None => {}
        }
    }
    // One that is leaving is made anew once it has gone.
    plan.children.push(realm);
    let wanted: Vec<ChildRef> = (1..=expansion.tenants()).map(|number| expansion.tenant_at(number)).collect();
    let surplus = |name: &str| !wanted.iter().any(|at| at.name == name);
    for (name, tenant) in &own {
        if !tenant.seen.deleting && (old(&tenant.seen) || surplus(name)) {
            let at = ChildRef { name: (*name).to_owned(), ..expansion.tenant_at(0) };
            steps.push(Step::DeleteTenant(at, tenant.seen.clone()));
        }
    }
    if resetting.is_none() {
        for (at, number) in wanted.iter().zip(1..) {
            if !own.get(at.name.as_str()).is_some_and(|tenant| tenant.seen.deleting) {
                plan.children.push(expansion.tenant(number, &plan.reset));
            }
        }
        if wanted.iter().all(|at| own.contains_key(at.name.as_str())) && !plan.reset.is_empty() {
            plan.reset_done = Some(plan.reset.clone());
        }
    }
    plan.report = match resetting {
        Some(what) => Report::reconciling("Resetting", format!("reset {}: {what}", plan.reset)),
        None => sum_up(expansion, observed, &wanted, own.keys().copied().find(|name| surplus(name))),
    };
    if plan.report.state == State::Reconciling {
        // Not every word of a part that changes is told.
        plan.requeue = plan.requeue.min(SOON);
    }
    plan.steps = steps;
}

fn token(seen: &Seen) -> &str {
    seen.annotations.get(RESET_TOKEN).map_or("", String::as_str)
}

/// The first that is not ready speaks for all.
fn sum_up(expansion: &Expansion<'_>, observed: &Observed, wanted: &[ChildRef], surplus: Option<&str>) -> Report {
    let realm = expansion.realm_at();
    let parts = std::iter::once((&realm, observed.realm.as_ref(), "RealmNotReady"))
        .chain(wanted.iter().map(|at| (at, observed.tenants.get(&at.name), "TenantsNotReady")));
    for (at, part, reason) in parts {
        let said = match part {
            None => return Report::reconciling(reason, format!("{at} is being made")),
            Some(part) if part.seen.deleting => {
                return Report::reconciling(reason, format!("{at} is being deleted, and made anew then"));
            }
            Some(Part { report: None, .. }) => {
                return Report::reconciling(reason, format!("{at}: its newest form was not looked at yet"));
            }
            Some(Part { report: Some(said), .. }) => said,
        };
        if said.state != State::Ready {
            let reason = REASONS.iter().find(|known| **known == said.reason).copied().unwrap_or(reason);
            return Report { state: said.state.clone(), reason, message: format!("{at}: {}", said.message) };
        }
    }
    if let Some(name) = surplus {
        let message = format!("Tenant {}/{name} is one too many and is being deleted", expansion.namespace);
        return Report::reconciling("Deleting", message);
    }
    let count = match wanted.len() {
        1 => "its tenant".to_owned(),
        count => format!("its {count} tenants"),
    };
    Report::ready(format!("the realm and {count} are ready"))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
