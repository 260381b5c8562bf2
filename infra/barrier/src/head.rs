//! The signed head of a tenant: which records it has, and at which state. It lies in the realm-level schema and a copy in
//! the tenant's own, so that neither rows nor a whole schema can be put back to an older state unnoticed.
//!
//! The set of records is a sum (XOR) of keyed hashes, one a record: a change adds and takes away its own records only.

use keyrealm_base::TenantId;
use keyrealm_crypto::{SecretBytes, ct_eq, hmac_sha256};
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

use crate::Sealer;
use crate::aad::Fields;

pub(crate) struct HeadKey(pub(crate) SecretBytes);

/// The sum of all records of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordSet([u8; 32]);

/// A state of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// A head's signature does not verify.
    #[error("tenant {0}: the signature of its head does not verify")]
    Signature(TenantId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sealer {
    /// The set with a record added; called again with the same record it is taken out.
    #[must_use]
    pub fn toggle(&self, mut set: RecordSet, table: &str, row: &[u8], sealed: &[u8]) -> RecordSet {
        let fields = Fields::default().push(b"record").push(table.as_bytes()).push(row).push(sealed).finish();
        for (sum, byte) in set.0.iter_mut().zip(hmac_sha256(&self.head.0, &[&fields])) {
            *sum ^= byte;
        }
        set
    }

    fn sign(&self, head: Head) -> [u8; 32] {
        let fields = Fields::default().push(b"head").push(&head.seq.to_be_bytes()).push(&head.set.0).finish();
        hmac_sha256(&self.head.0, &[&fields])
    }

    /// The state in the tenant's own schema.
    ///
    /// # Errors
    /// When its signature does not verify or the database fails.
    pub async fn state(&self, tenant: TenantId, tx: &mut TenantTx) -> Result<Head, HeadError> {
        let row = tx.fetch_one(Sql::new("SELECT seq, digest, mac FROM {s}state WHERE id = 1")).await?;
        Ok(row.map(|row| self.read(tenant, &row)).transpose()?.unwrap_or_default())
    }

    /// Writes the next state into the tenant's own schema, and reports it as the head in the realm-level one. A head never
    /// goes back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write_state(&self, tenant: TenantId, tx: &mut TenantTx, head: Head) -> Result<(), StoreError> {
        let sql = Sql::new(
            "INSERT INTO {s}state (id, seq, digest, mac) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO UPDATE SET \
             seq = excluded.seq, digest = excluded.digest, mac = excluded.mac",
        );
        tx.execute(self.bind(sql, head)).await?;
        tx.report(self.head(tenant, head));
        Ok(())
    }

    fn head(&self, tenant: TenantId, head: Head) -> Sql {
        let sql = Sql::new(
            "INSERT INTO {s}heads (seq, digest, mac, tenant) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant) DO UPDATE SET \
             seq = excluded.seq, digest = excluded.digest, mac = excluded.mac WHERE heads.seq < excluded.seq",
        );
        self.bind(sql, head).bind(tenant)
    }

    /// Judges a tenant at opening: `state` from its schema and `found` from its rows, both read in `tx`, and the head from
    /// the realm-level schema. A state that is one ahead of the head (a crash between the two commits, where there are
    /// two) is taken; the answer is then the statement that writes the head again.
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
        let sql = Sql::new("SELECT seq, digest, mac FROM {s}heads WHERE tenant = $1").bind(tenant);
        let rows = tx.fetch_realm(sql).await?;
        let head = rows.first().map(|row| self.read(tenant, row)).transpose()?.unwrap_or_default();
        match state.seq.checked_sub(head.seq) {
            Some(0) if state == head => Ok(None),
            Some(0) => Err(HeadError::Rows(tenant)),
            Some(1) => Ok(Some(self.head(tenant, state))),
            _ => Err(HeadError::RolledBack { tenant, found: state.seq, expected: head.seq }),
        }
    }

    fn read(&self, tenant: TenantId, row: &Row) -> Result<Head, HeadError> {
        let (seq, digest, mac): (i64, Vec<u8>, Vec<u8>) = (row.get("seq")?, row.get("digest")?, row.get("mac")?);
        let refuse = || HeadError::Signature(tenant);
        let set = RecordSet(digest.try_into().map_err(|_| refuse())?);
        let head = Head { seq: u64::try_from(seq).map_err(|_| refuse())?, set };
        if ct_eq(&self.sign(head), &mac) { Ok(head) } else { Err(refuse()) }
    }

    fn bind(&self, sql: Sql, head: Head) -> Sql {
        let seq = i64::try_from(head.seq).unwrap_or(i64::MAX);
        sql.bind(seq).bind(head.set.0).bind(self.sign(head))
    }
}
