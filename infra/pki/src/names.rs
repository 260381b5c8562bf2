//! The names of the CAs of a chain.

/// How CAs are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameStyle {
    /// `root.ca.<prefix>`, `intermediate.ca.<prefix>`: valid DNS names.
    Fqdn {
        /// Such as `demo.keyrealm.local`.
        prefix: String,
    },
    /// `<name> Root CA`, `<name> Intermediate CA`.
    Descriptive {
        /// Such as `Keyrealm Demo`.
        name: String,
    },
}

/// The common names of the CAs, root first. `length` counts all certificates, the leaf included.
pub(crate) fn ca_names(style: &NameStyle, length: usize) -> Vec<String> {
    let roles = roles(length);
    match style {
        NameStyle::Fqdn { prefix } => roles.iter().map(|role| format!("{}.ca.{prefix}", role.to_lowercase())).collect(),
        NameStyle::Descriptive { name } => roles.iter().map(|role| format!("{name} {role} CA")).collect(),
    }
}

fn roles(length: usize) -> Vec<String> {
    match length {
        0..=2 => vec!["Root".to_owned()],
        3 => ["Root", "Intermediate"].map(str::to_owned).to_vec(),
        4 => ["Root", "Policy", "Issuing"].map(str::to_owned).to_vec(),
        longer => {
            let middle = (1..longer - 2).map(|n| format!("CA{n}"));
            ["Root".to_owned()].into_iter().chain(middle).chain(["Issuing".to_owned()]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_length_and_style() {
        let fqdn = NameStyle::Fqdn { prefix: "r.test".into() };
        assert_eq!(ca_names(&fqdn, 2), ["root.ca.r.test"]);
        assert_eq!(ca_names(&fqdn, 3), ["root.ca.r.test", "intermediate.ca.r.test"]);
        assert_eq!(ca_names(&fqdn, 4), ["root.ca.r.test", "policy.ca.r.test", "issuing.ca.r.test"]);
        assert_eq!(ca_names(&fqdn, 5), ["root.ca.r.test", "ca1.ca.r.test", "ca2.ca.r.test", "issuing.ca.r.test"]);
        let plain = NameStyle::Descriptive { name: "Acme".into() };
        assert_eq!(ca_names(&plain, 3), ["Acme Root CA", "Acme Intermediate CA"]);
    }
}
