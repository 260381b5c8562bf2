//! The HTTP surface: a file an operation.

mod create_key;
mod decrypt;
mod encrypt;
mod get_key;
mod jwks;
mod list_keys;
mod list_versions;
mod rotate_key;
mod set_state;
mod sign;
mod update_key;
mod verify;
mod view;

use std::sync::Arc;

use keyrealm_auth::{BearerVerifier, ProtectedRouter, Scope};
use utoipa_axum::routes;

use crate::operate::Operations;

pub(crate) type App = Arc<Operations>;

/// All routes, each with the scope that it needs.
pub(crate) fn router(verifier: Arc<BearerVerifier>) -> ProtectedRouter<App> {
    ProtectedRouter::new(verifier)
        .route(Scope::KeyCreate, routes!(create_key::create_key))
        .route(Scope::KeyRead, routes!(list_keys::list_keys))
        .route(Scope::KeyRead, routes!(get_key::get_key))
        .route(Scope::KeyUpdate, routes!(update_key::update_key))
        .route(Scope::VersionRotate, routes!(rotate_key::rotate_key))
        .route(Scope::KeyUpdate, routes!(set_state::disable_key))
        .route(Scope::KeyUpdate, routes!(set_state::enable_key))
        .route(Scope::KeyRead, routes!(list_versions::list_versions))
        .route(Scope::Encrypt, routes!(encrypt::encrypt))
        .route(Scope::Decrypt, routes!(decrypt::decrypt))
        .route(Scope::Sign, routes!(sign::sign))
        .route(Scope::Verify, routes!(verify::verify))
        .route(Scope::KeyRead, routes!(jwks::jwks))
}
