//! The rights that the operator needs, as data: `operator check` asks for them, and the chart's rules are compared with them.

/// A right: verbs on a resource (`resource/subresource`) of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The plural, with its subresource.
    pub resource: &'static str,
    /// What is done.
    pub verbs: &'static [&'static str],
    /// Where it is needed.
    pub scope: Scope,
    /// What for.
    pub why: &'static str,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In every namespace that is looked at.
    Watched,
    /// In the whole cluster, when all namespaces are looked at; not at all otherwise.
    ClusterMode,
    /// In the Lease's namespace.
    Lease,
}

/// `get`: when the name is taken, to see by whom. What is not deleted goes with its owner.
const CHILD: &[&str] = &["list", "watch", "get", "create", "patch"];
const DELETED: &[&str] = &["list", "watch", "get", "create", "patch", "delete"];

const fn watched(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Right {
    Right { group, resource, verbs, scope: Scope::Watched, why }
}

/// All of them.
pub const RIGHTS: &[Right] = &[
    watched(crds::GROUP, "realms", CHILD, "Realms; those of DemoEnvironments are made"),
    watched(crds::GROUP, "tenants", DELETED, "Tenants; those of DemoEnvironments are made and deleted"),
    watched(crds::GROUP, "demoenvironments", &["list", "watch", "delete"], "DemoEnvironments; they expire"),
    watched(crds::GROUP, "realms/status", &["patch"], "how they stand"),
    watched(crds::GROUP, "tenants/status", &["patch"], "how they stand"),
    watched(crds::GROUP, "demoenvironments/status", &["patch"], "how they stand"),
    watched("", "secrets", DELETED, "keys, certificates, passwords"),
    watched("", "configmaps", CHILD, "configuration and trust bundles"),
    watched("", "services", CHILD, "the servers' names"),
    watched("", "serviceaccounts", CHILD, "the pods' accounts, without any right"),
    watched("apps", "deployments", DELETED, "KMS and Identity; they end before their database does"),
    watched("apps", "statefulsets", CHILD, "the managed PostgreSQL"),
    watched("policy", "poddisruptionbudgets", DELETED, "pods that may be missing at a time"),
    watched("networking.k8s.io", "networkpolicies", DELETED, "who may reach the pods"),
    watched("events.k8s.io", "events", &["create", "patch"], "transitions, for people"),
    Right {
        group: "",
        resource: "namespaces",
        verbs: &["list", "watch"],
        scope: Scope::ClusterMode,
        why: "labels, for allowedTenants",
    },
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["get", "create", "update"],
        scope: Scope::Lease,
        why: "leader election",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::ChildKind;

    /// The list as text, for the chart's tests.
    #[test]
    fn the_list_as_text_is_that_of_the_code() {
        let line = |right: &Right| {
            let scope = match right.scope {
                Scope::Watched => "watched",
                Scope::ClusterMode => "cluster",
                Scope::Lease => "lease",
            };
            format!("{scope} {}/{}: {}\n", right.group, right.resource, right.verbs.join(" "))
        };
        let text: String = RIGHTS.iter().map(line).collect();
        assert_eq!(include_str!("../rights.txt"), text, "operator/rights.txt shall be:\n{text}");
    }

    #[test]
    fn every_kind_of_child_has_its_rights() {
        for kind in ChildKind::ALL {
            let (api_version, _, plural) = kind.api();
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let right = RIGHTS.iter().find(|right| (right.group, right.resource) == (group, plural));
            assert!(right.is_some_and(|right| right.verbs.starts_with(CHILD)), "{kind:?}");
        }
        assert!(RIGHTS.iter().all(|right| !right.verbs.contains(&"*") && right.resource != "*"));
    }
}
