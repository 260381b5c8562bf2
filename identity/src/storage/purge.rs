//! Taking out what is over: in small steps, each a transaction of its own, so that nobody waits for it.

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_store::{Database, Product, Sql, StoreError, TenantAccess};

/// Rows of one step.
const STEP: u64 = 500;

/// What nobody asks for once it is over.
const AT_ONCE: [&str; 3] = [
    "DELETE FROM {s}sessions WHERE hash IN (SELECT hash FROM {s}sessions WHERE expires <= $1 LIMIT 500)",
    "DELETE FROM {s}interactions WHERE hash IN (SELECT hash FROM {s}interactions WHERE expires <= $1 LIMIT 500)",
    "DELETE FROM {s}ended WHERE value IN (SELECT value FROM {s}ended WHERE until <= $1 LIMIT 500)",
];
/// What is remembered for a while longer: who replays a code is noticed, and each access token's session is found.
const LATER: [&str; 2] = [
    "DELETE FROM {s}codes WHERE hash IN (SELECT hash FROM {s}codes WHERE expires <= $1 LIMIT 500)",
    "DELETE FROM {s}refresh_tokens WHERE hash IN (SELECT hash FROM {s}refresh_tokens WHERE expires <= $1 LIMIT 500)",
];

/// Takes out what was over at `now`, and codes and refresh tokens that were over at `before`. The answer is how many rows
/// went.
pub(crate) async fn purge(
    database: &Database,
    tenant: TenantId,
    now: Timestamp,
    before: Timestamp,
) -> Result<u64, StoreError> {
    let mut gone = 0;
    let statements = AT_ONCE.map(|statement| (statement, now)).into_iter();
    for (statement, before) in statements.chain(LATER.map(|statement| (statement, before))) {
        loop {
            let mut tx = database.tenant(Product::Identity, tenant, TenantAccess::Plain).await?;
            let step = tx.execute(Sql::new(statement).bind(before)).await?;
            tx.commit().await?;
            gone += step;
            if step < STEP {
                break;
            }
        }
    }
    Ok(gone)
}
