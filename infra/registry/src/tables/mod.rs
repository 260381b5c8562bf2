//! The tables of the control schema. Migrations are additive only: two releases may run side by side.

pub mod archives;
pub mod desired;
pub mod instances;
pub(crate) mod logins;
pub mod meta;
pub mod observed;
pub mod overlaps;
pub mod revocations;
pub mod tenants;

use keyrealm_store::{Migration, Product};

/// The control schema.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
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
    },
    // What the operator needs: who owns a tenant, what was used, and who has seen what.
    Migration {
        version: 2,
        statements: &[
            "ALTER TABLE {s}meta ADD COLUMN generation BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE {s}meta ADD COLUMN root_sha256 TEXT",
            "ALTER TABLE {s}meta ADD COLUMN kms_unseal TEXT",
            "ALTER TABLE {s}meta ADD COLUMN identity_unseal TEXT",
            "ALTER TABLE {s}tenants ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE {s}tenants ADD COLUMN changed BIGINT NOT NULL DEFAULT 0",
            "CREATE UNIQUE INDEX tenants_owner ON {s}tenants (owner) WHERE owner <> ''",
            "ALTER TABLE {s}desired ADD COLUMN on_remove TEXT NOT NULL DEFAULT 'orphan'",
            "ALTER TABLE {s}instances ADD COLUMN seen BIGINT NOT NULL DEFAULT 0",
            // By the database's clock: machines do not agree on the time.
            "ALTER TABLE {s}instances ADD COLUMN beat BIGINT NOT NULL DEFAULT 0",
            "CREATE TABLE {s}logins (product TEXT PRIMARY KEY, password_sha256 TEXT NOT NULL)",
            "CREATE TABLE {s}archives (name TEXT PRIMARY KEY, product TEXT NOT NULL, tenant TEXT NOT NULL, slug TEXT NOT NULL, \
             archived_at BIGINT NOT NULL)",
        ],
    },
    // Where a tenant's resource lies or lay: from there, and not from anywhere, a retained one is adopted.
    Migration { version: 3, statements: &["ALTER TABLE {s}tenants ADD COLUMN home TEXT NOT NULL DEFAULT ''"] },
    // Until when a client's former secret is valid.
    Migration {
        version: 4,
        statements: &[
            "CREATE TABLE {s}overlaps (tenant TEXT NOT NULL REFERENCES {s}tenants (id), client TEXT NOT NULL, \
             former_sha256 TEXT NOT NULL, until BIGINT NOT NULL, PRIMARY KEY (tenant, client))",
        ],
    },
];

/// What a product's login may do with the tables. `meta`, `tenants` and `desired` are the registrar's to write; `logins`,
/// `archives` and `overlaps` are nobody else's business.
pub(crate) fn rights(product: Product) -> Vec<(&'static str, &'static str)> {
    const READ: &str = "SELECT";
    const WRITE: &str = "SELECT, INSERT, UPDATE, DELETE";
    let revocations = match product {
        Product::Kms => READ,
        Product::Identity => WRITE,
    };
    vec![
        ("meta", READ),
        ("tenants", READ),
        ("desired", READ),
        ("observed", WRITE),
        ("instances", WRITE),
        ("revocations", revocations),
    ]
}
