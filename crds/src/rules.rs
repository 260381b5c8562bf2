//! CEL rules that several fields share. Each message names the field and says how to mend it.

use kube::core::{Message, Rule};

/// `2160h`, `90m`, `1h30m`, as Go writes them. So few digits that the sum never overflows.
const DURATION: &str = "^([0-9]{1,6}h([0-9]{1,7}m)?([0-9]{1,8}s)?|[0-9]{1,7}m([0-9]{1,8}s)?|[0-9]{1,8}s)$";
/// A DNS subdomain (RFC 1123).
const SUBDOMAIN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
/// A DNS label that begins with a letter, as Services need it (RFC 1035).
const LABEL: &str = "^[a-z]([a-z0-9-]*[a-z0-9])?$";
/// A DNS name whose last label begins with a letter: hence no IPv4 address. Then perhaps a port.
const HOST: &str = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])*[a-z]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]+)?$";
/// `https`, or `http` on loopback; without user, fragment, white space and backslash (RFC 6749, section 3.1.2).
const REDIRECT: &str =
    r#"^(https://[A-Za-z0-9._-]+|http://(localhost|127[.][0-9.]+|\\[::1\\]))(:[0-9]+)?([/?][!-"$-Z^-~]*)?$"#;

/// A rule on a text that must match.
fn matches(pattern: &str, message: String) -> Rule {
    Rule::new(format!("self.matches('{pattern}')")).message(Message::Message(message))
}

/// The field is a duration from `least` to `most`.
pub(crate) fn duration(field: &str, least: &str, most: &str) -> Rule {
    Rule::new(format!(
        "self.matches('{DURATION}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    ))
    .message(Message::Message(format!(
        "{field}: give a duration from {least} to {most} in hours, minutes and seconds, as 24h or 1h30m"
    )))
}

/// Leaves are renewed in time, and not all the time: the moment is moved by up to a tenth, so that not all come at once.
/// Silent while one of the two is no duration.
pub(crate) fn renewed_in_time() -> Rule {
    Rule::new(format!(
        "!self.renewBefore.matches('{DURATION}') || !self.leafLifetime.matches('{DURATION}') || \
         duration(self.renewBefore).getSeconds() * 10 <= duration(self.leafLifetime).getSeconds() * 9"
    ))
    .message("tls.renewBefore must be at most nine tenths of tls.leafLifetime: shorten the one or lengthen the other")
}

/// One field is shorter than another; silent while one of them is no duration.
pub(crate) fn shorter(parent: &str, short: &str, long: &str) -> Rule {
    Rule::new(format!(
        "!self.{short}.matches('{DURATION}') || !self.{long}.matches('{DURATION}') || duration(self.{short}) < \
         duration(self.{long})"
    ))
    .message(Message::Message(format!(
        "{parent}.{short} must be shorter than {parent}.{long}: shorten the one or lengthen the other"
    )))
}

/// The form of a hostname.
pub(crate) fn host(field: &str) -> Rule {
    matches(
        HOST,
        format!(
            "{field}: give a DNS name in lower case, or name:port, as id.example.com:8443; no https://, no path, no IP \
             address"
        ),
    )
}

/// The port of a hostname.
pub(crate) fn port(field: &str) -> Rule {
    // What is no port at all is the other rule's.
    let rule = "!self.matches(':[0-9]+$') || (self.matches(':[1-9][0-9]{0,4}$') && int(self.split(':')[1]) <= 65535 && \
                int(self.split(':')[1]) != 443)";
    Rule::new(rule)
        .message(Message::Message(format!("{field}: give a port from 1 to 65535; leave :443 away, it is the default")))
}

/// The name of an object.
pub(crate) fn subdomain(field: &str) -> Rule {
    matches(SUBDOMAIN, format!("{field}: give the object's name: lower-case letters, digits, hyphens and dots"))
}

/// The name of a namespace.
pub(crate) fn namespace(field: &str) -> Rule {
    matches(
        "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        format!("{field}: give the namespace's name: lower-case letters, digits and hyphens"),
    )
}

/// The key of an entry in a Secret.
pub(crate) fn secret_key(field: &str) -> Rule {
    matches("^[A-Za-z0-9._-]+$", format!("{field}: give a key of the Secret: letters, digits, '-', '_' and '.'"))
}

/// A tenant's slug.
pub(crate) fn slug(field: &str) -> Rule {
    matches(LABEL, format!("{field}: begin with a letter; then lower-case letters, digits and hyphens, no hyphen last"))
}

/// The length of the resource's own name.
pub(crate) fn name_length(most: usize) -> Rule {
    Rule::new(format!("size(self.metadata.name) <= {most}")).message(Message::Message(format!(
        "metadata.name: at most {most} characters, since names of other objects begin with it"
    )))
}

/// The form of the resource's own name, where Services and hostnames begin with it.
pub(crate) fn name_form() -> Rule {
    Rule::new(format!("self.metadata.name.matches('{LABEL}')"))
        .message("metadata.name: begin with a letter; then lower-case letters, digits and hyphens, no hyphen last")
}

/// A Tenant without a slug has a name that is one.
pub(crate) fn name_or_slug() -> Rule {
    Rule::new(format!("has(self.spec.slug) || self.metadata.name.matches('{LABEL}')")).message(
        "spec.slug: give one, since metadata.name is no slug (a letter, then lower-case letters, digits, hyphens)",
    )
}

/// A field with a default, or a required one, never changes.
pub(crate) fn fixed(field: &str, why: &str) -> Rule {
    Rule::new("self == oldSelf").message(Message::Message(format!("{field} cannot change: {why}")))
}

/// A field that may be left out never changes, comes or goes; a rule of its parent.
pub(crate) fn fixed_optional(field: &str, path: &str, why: &str) -> Rule {
    Rule::new(format!(
        "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    ))
    .message(Message::Message(format!("{path} cannot change after creation: {why}")))
}

/// A field that may be left out neither comes nor goes; a rule of its parent.
pub(crate) fn stays(field: &str, path: &str, why: &str) -> Rule {
    Rule::new(format!("has(self.{field}) == has(oldSelf.{field})"))
        .message(Message::Message(format!("{path} can be neither added nor removed after creation: {why}")))
}

/// All URIs of a list have the allowed form.
pub(crate) fn redirects(field: &str) -> Rule {
    Rule::new(format!("self.all(uri, uri.matches('{REDIRECT}'))")).message(Message::Message(format!(
        "{field}: give https://host/path (http:// on localhost, 127.0.0.1 or [::1] only), without user and #fragment"
    )))
}

/// What people read: a database takes no NUL, and a line of a table no line break. As the servers see it, in all of Unicode.
pub(crate) fn shown(field: &str) -> Rule {
    matches(r"^\\P{Cc}*$", format!("{field}: leave line breaks, tabs and other control characters away"))
}

/// The size of a volume.
pub(crate) fn storage(field: &str) -> Rule {
    Rule::new(
        "isQuantity(self) && quantity(self).compareTo(quantity('256Mi')) >= 0 && \
         quantity(self).compareTo(quantity('16Ti')) <= 0",
    )
    .message(Message::Message(format!("{field}: give a size from 256Mi to 16Ti, as 10Gi")))
}

/// Labels as Kubernetes has them.
pub(crate) fn labels(field: &str) -> Rule {
    Rule::new(
        "self.all(key, size(key) <= 317 && \
         key.matches('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$') && \
         self[key].matches('^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$'))",
    )
    .message(Message::Message(format!(
        "{field}: give labels as Kubernetes has them: [domain/]name and a value of at most 63 characters"
    )))
}

/// Amounts of what a container may be given.
pub(crate) fn amounts(field: &str) -> Rule {
    Rule::new(
        "self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'] && isQuantity(self[name]) && \
         quantity(self[name]).isGreaterThan(quantity('0')))",
    )
    .message(Message::Message(format!(
        "{field}: give cpu, memory or ephemeral-storage with a quantity above 0, as 250m or 64Mi"
    )))
}

/// No request is above its limit: no pod would be made.
pub(crate) fn requests_within_limits() -> Rule {
    Rule::new(
        "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || \
         !isQuantity(self.requests[name]) || !isQuantity(self.limits[name]) || \
         quantity(self.requests[name]).compareTo(quantity(self.limits[name])) <= 0)",
    )
    .message("resources.requests: none may exceed its limit: lower the request or raise the limit")
}
