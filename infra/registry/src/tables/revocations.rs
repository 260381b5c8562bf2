//! `revocations`: written by Identity, held in memory by everybody who takes its tokens.

use keyrealm_base::Timestamp;
use keyrealm_store::{ControlTx, Notice, Sql, StoreError};

use crate::{Revocation, RevocationKind};

/// Revokes; everybody is told at the commit. Rows that have done their work are taken out.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut ControlTx, revocations: &[Revocation], now: Timestamp) -> Result<(), StoreError> {
    for revocation in revocations {
        let sql = Sql::new(
            "INSERT INTO {s}revocations (kind, value, until) VALUES ($1, $2, $3) ON CONFLICT (kind, value) DO UPDATE SET \
             until = CASE WHEN excluded.until > revocations.until THEN excluded.until ELSE revocations.until END",
        );
        tx.execute(sql.bind(revocation.kind.name()).bind(&revocation.value).bind(revocation.until)).await?;
    }
    tx.execute(Sql::new("DELETE FROM {s}revocations WHERE until <= $1").bind(now)).await?;
    tx.notify(Notice::Revocations);
    Ok(())
}

/// All revocations in force.
///
/// # Errors
/// When the database fails.
pub async fn in_force(tx: &mut ControlTx, now: Timestamp) -> Result<Vec<Revocation>, StoreError> {
    let rows = tx.fetch(Sql::new("SELECT kind, value, until FROM {s}revocations WHERE until > $1").bind(now)).await?;
    rows.iter()
        .map(|row| {
            let kind: String = row.get("kind")?;
            let kind = RevocationKind::from_name(&kind).ok_or(StoreError::Column("kind"))?;
            Ok(Revocation { kind, value: row.get("value")?, until: row.get("until")? })
        })
        .collect()
}
