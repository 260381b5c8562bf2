//! DemoEnvironment: a realm with tenants, users, clients and keys, from one resource. It expands into one Realm, Tenants and
//! a Secret, all with references to it, and ends by itself.

mod expand;
pub mod plan;
