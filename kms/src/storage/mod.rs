//! The tables of the KMS.

pub(crate) mod keys;
pub(crate) mod usage;
pub(crate) mod versions;

use keyrealm_barrier::{REALM_STATEMENTS, TENANT_STATEMENTS};
use keyrealm_store::Migration;

/// The realm-level schema: the barrier alone.
pub(crate) const REALM: &[Migration] = &[Migration { version: 1, statements: &REALM_STATEMENTS }];

/// A tenant's schema.
pub(crate) const TENANT: &[Migration] = &[
    Migration { version: 1, statements: &TENANT_STATEMENTS },
    Migration {
        version: 2,
        statements: &[
            "CREATE TABLE {s}keys (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL, \
             algorithm TEXT NOT NULL, state TEXT NOT NULL, managed_by TEXT NOT NULL, latest_version BIGINT NOT NULL, \
             created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, state_seq BIGINT NOT NULL, sealed {blob} NOT NULL)",
            "CREATE TABLE {s}key_versions (id TEXT PRIMARY KEY, key_id TEXT NOT NULL REFERENCES {s}keys (id), \
             version BIGINT NOT NULL, created_at BIGINT NOT NULL, state_seq BIGINT NOT NULL, sealed {blob} NOT NULL, \
             UNIQUE (key_id, version))",
            "CREATE TABLE {s}key_usage (version_id TEXT PRIMARY KEY REFERENCES {s}key_versions (id), \
             reserved BIGINT NOT NULL)",
        ],
    },
];
