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

use crate::cli::Command;

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
    /// Which commands do it: for showing it, or since a later step needs what it finds.
    pub commands: &'static [Command],
    /// Whether a second try does no harm.
    pub repeatable: bool,
    pub(crate) run: for<'a, 'b> fn(&'a mut World<'b>) -> Work<'a>,
}

const BOTH: &[Command] = &[Command::All, Command::Identity, Command::Kms];
const IDENTITY: &[Command] = &[Command::All, Command::Identity];
const KMS: &[Command] = &[Command::All, Command::Kms];

macro_rules! steps {
    ($($id:literal, $phase:literal, $commands:ident, $repeatable:literal, $title:literal => $work:path;)*) => {
        /// All steps, in their order.
        pub const STEPS: &[Step] = &[$(Step {
            id: $id,
            phase: $phase,
            title: $title,
            commands: $commands,
            repeatable: $repeatable,
            run: |world| Box::pin($work(world)),
        },)*];
    };
}

steps! {
    "servers.health", "integration", BOTH, true, "Both servers are ready" => servers::health;
    "identity.discovery", "identity", BOTH, true, "Discovery: both documents name one issuer" => identity::discovery;
    "identity.jwks", "identity", BOTH, true, "The key set has public keys only" => identity::jwks;
    "identity.entities", "identity", IDENTITY, true, "Every seeded client can authenticate" => identity::clients;
    "identity.users", "identity", IDENTITY, true, "Every seeded user can log in" => login::users;
    "identity.login", "identity", BOTH, false, "Log-in by form, consent, authorization code with PKCE" => login::log_in;
    "identity.token.exchange", "identity", BOTH, false, "The code becomes tokens; the id_token verifies" => login::exchange;
    "identity.token.claims", "identity", IDENTITY, true, "What the access token says" => login::claims;
    "identity.code.replay", "identity", IDENTITY, true, "The code works only once" => login::replay_code;
    "identity.userinfo", "identity", IDENTITY, true, "Userinfo is about the same user" => identity::userinfo;
    "kms.entities", "kms", KMS, true, "The tenant's seeded keys are there" => kms::entities;
    "kms.key.create", "kms", KMS, false, "An encryption key and a signing key are made" => kms::create;
    "kms.encrypt", "kms", KMS, true, "Encrypt with a context" => kms::encrypt;
    "kms.decrypt", "kms", KMS, true, "Decrypt with the same context" => kms::decrypt;
    "kms.decrypt.context", "kms", KMS, true, "Another context does not open it" => kms::wrong_context;
    "kms.sign", "kms", KMS, true, "Sign; anybody can verify with the tenant's key set" => kms::sign;
    "kms.verify", "kms", KMS, true, "Verify; a changed signature is refused" => kms::verify;
    "kms.rotate", "kms", KMS, false, "Rotate: a new version encrypts, the old ciphertext still opens" => kms::rotate;
    "integration.scope", "integration", KMS, true, "A token without the scope is refused (403)" => isolation::missing_scope;
    "integration.unauthenticated", "integration", KMS, true, "No token is refused (401)" => isolation::no_token;
    "integration.tenant", "integration", KMS, true, "The other tenant's user sees a key as one that does not exist" => isolation::other_tenant;
    "identity.token.refresh", "identity", IDENTITY, false, "A refresh token is exchanged for new ones" => refresh::rotate;
    "identity.token.refresh_replay", "identity", IDENTITY, false, "A replayed refresh token ends the whole family" => refresh::replay;
    "identity.token.revoke", "identity", IDENTITY, true, "A revoked token is refused by introspection and by the KMS" => refresh::revoke;
    "identity.logout", "identity", IDENTITY, false, "Log-out ends the session and its tokens" => refresh::log_out;
}

/// The steps of a command, in their order.
pub fn steps_of(command: Command) -> impl Iterator<Item = &'static Step> {
    STEPS.iter().filter(move |step| step.commands.contains(&command))
}

#[cfg(test)]
mod tests {
    use super::{Command, STEPS, steps_of};

    #[test]
    fn every_step_belongs_to_all_and_to_one_product_at_least() {
        assert_eq!(steps_of(Command::All).count(), STEPS.len());
        assert!(STEPS.iter().all(|step| step.commands.len() > 1));
        let ids = |command| steps_of(command).map(|step| step.id).collect::<Vec<_>>();
        assert!(ids(Command::Kms).contains(&"integration.tenant") && !ids(Command::Kms).contains(&"identity.logout"));
        assert!(ids(Command::Identity).iter().all(|id| !id.starts_with("kms.")));
        assert!(ids(Command::Version).is_empty());
    }

    #[test]
    fn ids_are_unique_and_name_known_phases() {
        let ids: std::collections::HashSet<_> = STEPS.iter().map(|step| step.id).collect();
        assert_eq!(ids.len(), STEPS.len());
        assert!(STEPS.iter().all(|step| ["identity", "kms", "integration"].contains(&step.phase)));
    }
}
