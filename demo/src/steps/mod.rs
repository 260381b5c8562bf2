//! The steps as data: what each is called, and the work that does and checks it.

mod identity;
mod isolation;
mod kms;
mod login;
mod refresh;
mod servers;
mod world;

use std::pin::Pin;

use anyhow::Result;

pub(crate) use world::World;

/// What a step found, a line each.
type Facts = Result<Vec<String>>;
type Work<'a> = Pin<Box<dyn Future<Output = Facts> + Send + 'a>>;

/// One step.
pub struct Step {
    /// Stable.
    pub id: &'static str,
    /// Which part of the product it shows.
    pub phase: &'static str,
    /// What people read.
    pub title: &'static str,
    /// Whether a second try does no harm.
    pub repeatable: bool,
    pub(crate) run: for<'a, 'b> fn(&'a mut World<'b>) -> Work<'a>,
}

macro_rules! steps {
    ($($id:literal, $phase:literal, $repeatable:literal, $title:literal => $work:path;)*) => {
        /// All steps, in their order.
        pub const STEPS: &[Step] = &[$(Step {
            id: $id,
            phase: $phase,
            title: $title,
            repeatable: $repeatable,
            run: |world| Box::pin($work(world)),
        },)*];
    };
}

steps! {
    "servers.health", "integration", true, "Both servers are ready" => servers::health;
    "identity.discovery", "identity", true, "Discovery: both documents name one issuer" => identity::discovery;
    "identity.jwks", "identity", true, "The key set has public keys only" => identity::jwks;
    "identity.entities", "identity", true, "Every seeded client can authenticate" => identity::clients;
    "identity.users", "identity", true, "Every seeded user can log in" => login::users;
    "identity.login", "identity", false, "Log-in by form, consent, authorization code with PKCE" => login::log_in;
    "identity.token.exchange", "identity", false, "The code becomes tokens; the id_token verifies" => login::exchange;
    "identity.token.claims", "identity", true, "What the access token says" => login::claims;
    "identity.code.replay", "identity", true, "The code works only once" => login::replay_code;
    "identity.userinfo", "identity", true, "Userinfo is about the same user" => identity::userinfo;
    "kms.entities", "kms", true, "The tenant's seeded keys are there" => kms::entities;
    "kms.key.create", "kms", false, "An encryption key and a signing key are made" => kms::create;
    "kms.encrypt", "kms", true, "Encrypt with a context" => kms::encrypt;
    "kms.decrypt", "kms", true, "Decrypt with the same context" => kms::decrypt;
    "kms.decrypt.context", "kms", true, "Another context does not open it" => kms::wrong_context;
    "kms.sign", "kms", true, "Sign; anybody can verify with the tenant's key set" => kms::sign;
    "kms.verify", "kms", true, "Verify; a changed signature is refused" => kms::verify;
    "kms.rotate", "kms", false, "Rotate: a new version encrypts, the old ciphertext still opens" => kms::rotate;
    "integration.scope", "integration", true, "A token without the scope is refused (403)" => isolation::missing_scope;
    "integration.unauthenticated", "integration", true, "No token is refused (401)" => isolation::no_token;
    "integration.tenant", "integration", true, "The other tenant's user sees a key as one that does not exist" => isolation::other_tenant;
    "identity.token.refresh", "identity", false, "A refresh token is exchanged for new ones" => refresh::rotate;
    "identity.token.refresh_replay", "identity", false, "A replayed refresh token ends the whole family" => refresh::replay;
    "identity.token.revoke", "identity", true, "A revoked token is refused by introspection and by the KMS" => refresh::revoke;
    "identity.logout", "identity", false, "Log-out ends the session and its tokens" => refresh::log_out;
}

#[cfg(test)]
mod tests {
    use super::STEPS;

    #[test]
    fn ids_are_unique_and_name_known_phases() {
        let ids: std::collections::HashSet<_> = STEPS.iter().map(|step| step.id).collect();
        assert_eq!(ids.len(), STEPS.len());
        assert!(STEPS.iter().all(|step| ["identity", "kms", "integration"].contains(&step.phase)));
    }
}
