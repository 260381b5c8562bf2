//! The sealed head of a tenant: which records it has, and at which state. It lies in the realm-level schema and a copy in
//! the tenant's own, so that neither rows nor a whole schema can be put back to an older state unnoticed.
//!
//! The set of records is a sum (XOR) of keyed hashes, one a record: a change adds and takes away its own records only.
//! Such a sum is linear. Who has seen it at more states than it has bits could solve for a choice of old rows that gives
//! the present sum, without any key. So nobody sees it: wherever it is stored it is sealed, bound to tenant and state.

use keyrealm_base::TenantId;
use keyrealm_crypto::{CryptoError, SecretBytes, hkdf_sha256, hmac_sha256};
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

use crate::aad::Fields;
use crate::key::Key;
use crate::record::Record;
use crate::{BarrierError, Sealer};

/// What a head is made with.
pub(crate) struct HeadKey {
    /// Seals the sum.
    pub(crate) seal: Key,
    /// Hashes the records.
    hash: SecretBytes,
}

impl HeadKey {
    pub(crate) fn new(seal: Key) -> Result<Self, CryptoError> {
        let hash = hkdf_sha256(&seal.secret, &[], &[b"keyrealm head v1"], 32)?;
        Ok(Self { seal, hash })
    }
}

/// The sum of all records of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordSet([u8; 32]);

/// A state of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Rises by one with each change.
    pub seq: u64,
    /// The records at that state.
    pub set: RecordSet,
}

/// The tenant's rows are not those of its head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// A row was changed, added, taken out or put back.
    #[error("tenant {0}: the rows are not those that were last written; somebody changed or restored some of them")]
    Rows(TenantId),
    /// The tenant's schema is older than the head.
    #[error("tenant {tenant}: the schema is at state {found}, its head at {expected}: it was rolled back")]
    RolledBack {
        /// Which tenant.
        tenant: TenantId,
        /// The state found.
        found: u64,
        /// The state of the head.
        expected: u64,
    },
    /// A head or a state is not what was written.
    #[error("tenant {0}: its sealed head does not open")]
    Seal(TenantId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a sum is stored.
#[derive(Clone, Copy)]
enum Place {
    /// The tenant's own schema.
    State,
    /// The realm-level schema.
    Head,
}

impl Sealer {
    /// The set with a record added; called again with the same record it is taken out.
    #[must_use]
    pub fn toggle(&self, mut set: RecordSet, table: &str, row: &[u8], sealed: &[u8]) -> RecordSet {
        let fields = Fields::default().push(b"record").push(table.as_bytes()).push(row).push(sealed).finish();
        for (sum, byte) in set.0.iter_mut().zip(hmac_sha256(&self.head.hash, &[&fields])) {
            *sum ^= byte;
        }
        set
    }

    /// The state in the tenant's own schema.
    ///
    /// # Errors
    /// When it is not what was written, or the database fails.
    pub async fn state(&self, tenant: TenantId, tx: &mut TenantTx) -> Result<Head, HeadError> {
        let row = tx.fetch_one(Sql::new("SELECT seq, sealed FROM {s}state WHERE id = 1")).await?;
        Ok(row.map(|row| self.read(Place::State, tenant, &row)).transpose()?.unwrap_or_default())
    }

    /// Writes the next state into the tenant's own schema, and reports it as the head in the realm-level one. Both follow on
    /// the state before and on no other.
    ///
    /// # Errors
    /// When the state was not the one before, or the database or the library fails.
    pub async fn write_state(&self, tenant: TenantId, tx: &mut TenantTx, head: Head) -> Result<(), BarrierError> {
        let sql = if head.seq <= 1 {
            Sql::new("INSERT INTO {s}state (id, seq, sealed) VALUES (1, $1, $2) ON CONFLICT DO NOTHING")
        } else {
            Sql::new("UPDATE {s}state SET seq = $1, sealed = $2 WHERE id = 1 AND seq = $1 - 1")
        };
        let sql = sql.bind(seq(head)).bind(self.seal_head(Place::State, tenant, head)?);
        if tx.execute(sql).await? != 1 {
            return Err(StoreError::Overtaken { space: self.home.space }.into());
        }
        tx.report(self.head(tenant, head)?);
        Ok(())
    }

    /// The statement that writes the head; it changes one row.
    fn head(&self, tenant: TenantId, head: Head) -> Result<Sql, CryptoError> {
        let sql = if head.seq <= 1 {
            Sql::new("INSERT INTO {s}heads (seq, sealed, tenant) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        } else {
            Sql::new("UPDATE {s}heads SET seq = $1, sealed = $2 WHERE tenant = $3 AND seq = $1 - 1")
        };
        Ok(sql.bind(seq(head)).bind(self.seal_head(Place::Head, tenant, head)?).bind(tenant))
    }

    /// Judges a tenant at opening: `state` from its schema and `found` from its rows, both read in `tx`, and the head from
    /// the realm-level schema.
    ///
    /// # Errors
    /// When rows or schema are not those of the head.
    pub async fn check(
        &self,
        tenant: TenantId,
        tx: &mut TenantTx,
        state: Head,
        found: RecordSet,
    ) -> Result<Option<Sql>, HeadError> {
        if state.set != found {
            return Err(HeadError::Rows(tenant));
        }
        self.check_head(tenant, tx, state).await
    }

    /// Compares `state`, whose rows were checked, with the head. A state that is one ahead of the head (a crash between the
    /// two commits, where there are two) is taken; the answer is then the statement that writes the head again.
    ///
    /// # Errors
    /// When the schema is not that of the head.
    pub async fn check_head(&self, tenant: TenantId, tx: &mut TenantTx, state: Head) -> Result<Option<Sql>, HeadError> {
        let sql = Sql::new("SELECT seq, sealed FROM {s}heads WHERE tenant = $1").bind(tenant);
        let rows = tx.fetch_realm(sql).await?;
        let head = rows.first().map(|row| self.read(Place::Head, tenant, row)).transpose()?.unwrap_or_default();
        match state.seq.checked_sub(head.seq) {
            Some(0) if state == head => Ok(None),
            Some(0) => Err(HeadError::Rows(tenant)),
            Some(1) => Ok(Some(self.head(tenant, state).map_err(|_| HeadError::Seal(tenant))?)),
            _ => Err(HeadError::RolledBack { tenant, found: state.seq, expected: head.seq }),
        }
    }

    fn read(&self, place: Place, tenant: TenantId, row: &Row) -> Result<Head, HeadError> {
        let (seq, sealed): (i64, Vec<u8>) = (row.get("seq")?, row.get("sealed")?);
        let refuse = || HeadError::Seal(tenant);
        let seq = u64::try_from(seq).map_err(|_| refuse())?;
        let set = self.open_head(&record(place, &tenant, seq), &sealed).map_err(|_| refuse())?;
        Ok(Head { seq, set: RecordSet(set.expose().try_into().map_err(|_| refuse())?) })
    }

    fn seal_head(&self, place: Place, tenant: TenantId, head: Head) -> Result<Vec<u8>, CryptoError> {
        self.seal_with(&self.head.seal, &record(place, &tenant, head.seq), &head.set.0)
    }
}

fn record(place: Place, tenant: &TenantId, seq: u64) -> Record<'_> {
    let table = match place {
        Place::State => "state",
        Place::Head => "heads",
    };
    Record { table, row: tenant.as_bytes(), version: 0, purpose: "head", metadata: &[], state_seq: seq }
}

fn seq(head: Head) -> i64 {
    i64::try_from(head.seq).unwrap_or(i64::MAX)
}
