//! DemoEnvironment: a realm with tenants, users, clients and keys, from one resource. It expands into one Realm, Tenants and
//! a Secret, all with references to it, and ends by itself.

#[allow(dead_code, reason = "the executor takes it")]
mod expand;
pub mod plan;
pub mod status;
