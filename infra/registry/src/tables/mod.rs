//! The tables of the control schema. Migrations are additive only: two releases may run side by side.

pub mod desired;
pub mod instances;
pub mod meta;
pub mod observed;
pub mod revocations;
pub mod tenants;

use keyrealm_store::{Migration, Product};

/// The control schema.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: &[
        "CREATE TABLE {s}meta (id BIGINT PRIMARY KEY CHECK (id = 1), deployment_id TEXT NOT NULL, realm_uid TEXT NOT NULL)",
        "CREATE TABLE {s}tenants (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, display_name TEXT NOT NULL, \
         enabled BIGINT NOT NULL, created_at BIGINT NOT NULL)",
        "CREATE TABLE {s}desired (tenant TEXT NOT NULL REFERENCES {s}tenants (id), product TEXT NOT NULL, kind TEXT NOT NULL, \
         name TEXT NOT NULL, spec TEXT NOT NULL, spec_hash TEXT NOT NULL, generation BIGINT NOT NULL, deleted_at BIGINT, \
         PRIMARY KEY (tenant, product, kind, name))",
        "CREATE TABLE {s}observed (tenant TEXT NOT NULL, product TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, \
         spec_hash TEXT NOT NULL, object_id TEXT, status TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, \
         PRIMARY KEY (tenant, product, kind, name))",
        "CREATE TABLE {s}instances (id TEXT PRIMARY KEY, product TEXT NOT NULL, ready BIGINT NOT NULL, \
         chain_sha256 TEXT NOT NULL, bundle_sha256 TEXT NOT NULL, schema_version BIGINT NOT NULL, heartbeat BIGINT NOT NULL)",
        "CREATE TABLE {s}revocations (kind TEXT NOT NULL, value TEXT NOT NULL, until BIGINT NOT NULL, PRIMARY KEY (kind, value))",
    ],
}];

/// The tables that a product's login may write. `meta`, `tenants` and `desired` are the registrar's.
pub(crate) fn writable(product: Product) -> Vec<&'static str> {
    match product {
        Product::Kms => vec!["observed", "instances"],
        Product::Identity => vec!["observed", "instances", "revocations"],
    }
}
