//! Tenant: a tenant in the realm's database with keys, clients and users.

mod allowed;
mod client_secret;
mod deletion;
pub mod entries;
pub mod observed;
mod overlap;
pub mod plan;
mod sources;
pub mod status;

#[cfg(test)]
mod plan_tests;
