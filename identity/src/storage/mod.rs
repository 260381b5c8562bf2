//! The tables of the identity server.

pub(crate) mod clients;
pub(crate) mod codes;
pub(crate) mod consents;
pub(crate) mod interactions;
pub(crate) mod purge;
pub(crate) mod refresh_tokens;
pub(crate) mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod users;

use keyrealm_barrier::REALM_STATEMENTS;
use keyrealm_store::Migration;

/// The realm-level schema: the barrier, the signing keys, and which tenant a client belongs to.
pub(crate) const REALM: &[Migration] = &[
    Migration { version: 1, statements: &REALM_STATEMENTS },
    Migration {
        version: 2,
        statements: &[
            "CREATE TABLE {s}signing_keys (algorithm TEXT PRIMARY KEY, id TEXT NOT NULL, sealed {blob} NOT NULL)",
            "CREATE TABLE {s}client_ids (client_id TEXT PRIMARY KEY, tenant TEXT NOT NULL)",
        ],
    },
];

/// A tenant's schema. Codes, tokens and sessions are stored as hashes only.
pub(crate) const TENANT: &[Migration] = &[
    Migration {
        version: 1,
        statements: &[
            "CREATE TABLE {s}clients (client_id TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, spec TEXT NOT NULL)",
            "CREATE TABLE {s}users (id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, spec TEXT NOT NULL)",
            "CREATE TABLE {s}sessions (hash {blob} PRIMARY KEY, sid TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, \
         auth_time BIGINT NOT NULL, last_seen BIGINT NOT NULL, expires BIGINT NOT NULL)",
            "CREATE TABLE {s}interactions (hash {blob} PRIMARY KEY, request TEXT NOT NULL, sid TEXT, expires BIGINT NOT NULL)",
            "CREATE TABLE {s}consents (user_id TEXT NOT NULL, client_id TEXT NOT NULL, scope TEXT NOT NULL, \
         PRIMARY KEY (user_id, client_id))",
            "CREATE TABLE {s}codes (hash {blob} PRIMARY KEY, client_id TEXT NOT NULL, user_id TEXT NOT NULL, \
         redirect_uri TEXT NOT NULL, scope TEXT NOT NULL, nonce TEXT, challenge TEXT, sid TEXT NOT NULL, \
         family TEXT NOT NULL, auth_time BIGINT NOT NULL, expires BIGINT NOT NULL, used_at BIGINT)",
            "CREATE TABLE {s}refresh_tokens (hash {blob} PRIMARY KEY, family TEXT NOT NULL, client_id TEXT NOT NULL, \
         user_id TEXT NOT NULL, scope TEXT NOT NULL, sid TEXT NOT NULL, auth_time BIGINT NOT NULL, expires BIGINT NOT NULL, \
         used_at BIGINT, successor {blob}, revoked_at BIGINT)",
        ],
    },
    // Families and sessions that are over.
    Migration { version: 2, statements: &["CREATE TABLE {s}ended (value TEXT PRIMARY KEY, until BIGINT NOT NULL)"] },
    // A client is the entry's, whatever client id the entry gives it.
    Migration {
        version: 3,
        statements: &[
            "ALTER TABLE {s}clients ADD COLUMN name TEXT",
            "ALTER TABLE {s}clients ADD COLUMN former TEXT",
            "UPDATE {s}clients SET name = client_id",
            "CREATE UNIQUE INDEX clients_name ON {s}clients (name)",
            "ALTER TABLE {s}refresh_tokens ADD COLUMN access TEXT",
        ],
    },
    // For what is taken out when it is over, and for ending all that a session, family, user or client has.
    Migration {
        version: 4,
        statements: &[
            "CREATE INDEX sessions_expires ON {s}sessions (expires)",
            "CREATE INDEX sessions_user ON {s}sessions (user_id)",
            "CREATE INDEX interactions_expires ON {s}interactions (expires)",
            "CREATE INDEX codes_expires ON {s}codes (expires)",
            "CREATE INDEX codes_user ON {s}codes (user_id)",
            "CREATE INDEX codes_client ON {s}codes (client_id)",
            "CREATE INDEX refresh_tokens_expires ON {s}refresh_tokens (expires)",
            "CREATE INDEX refresh_tokens_family ON {s}refresh_tokens (family)",
            "CREATE INDEX refresh_tokens_sid ON {s}refresh_tokens (sid)",
            "CREATE INDEX refresh_tokens_user ON {s}refresh_tokens (user_id)",
            "CREATE INDEX refresh_tokens_client ON {s}refresh_tokens (client_id)",
            "CREATE INDEX ended_until ON {s}ended (until)",
        ],
    },
];
