//! `keys`: one row a key, sealed against change.

use keyrealm_base::KeyId;
use keyrealm_registry::ManagedBy;
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

use crate::domain::key::{Key, KeyState};

/// A key as it is stored.
pub(crate) struct StoredKey {
    pub(crate) key: Key,
    pub(crate) state_seq: u64,
    pub(crate) sealed: Vec<u8>,
}

/// What to list.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) names: Vec<String>,
    pub(crate) algorithms: Vec<String>,
    pub(crate) states: Vec<String>,
    pub(crate) sort: Vec<(SortColumn, bool)>,
    pub(crate) page: u32,
    pub(crate) size: u32,
}

/// The columns that a list may be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortColumn {
    Name,
    Algorithm,
    State,
    CreatedAt,
    UpdatedAt,
}

impl SortColumn {
    pub(crate) const ALL: [Self; 5] = [Self::Name, Self::Algorithm, Self::State, Self::CreatedAt, Self::UpdatedAt];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Algorithm => "algorithm",
            Self::State => "state",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
        }
    }
}

const SELECT: &str = "SELECT id, name, description, algorithm, state, managed_by, latest_version, created_at, updated_at, \
                      state_seq, sealed FROM {s}keys";

fn stored(row: &Row) -> Result<StoredKey, StoreError> {
    let (state, managed_by, seq): (String, String, i64) =
        (row.get("state")?, row.get("managed_by")?, row.get("state_seq")?);
    Ok(StoredKey {
        key: Key {
            id: row.get("id")?,
            name: row.get("name")?,
            description: row.get("description")?,
            algorithm: row.get("algorithm")?,
            state: KeyState::from_name(&state).ok_or(StoreError::Column("state"))?,
            managed_by: ManagedBy::from_name(&managed_by).ok_or(StoreError::Column("managed_by"))?,
            latest_version: row.get("latest_version")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        },
        state_seq: u64::try_from(seq).map_err(|_| StoreError::Column("state_seq"))?,
        sealed: row.get("sealed")?,
    })
}

pub(crate) async fn by_id(tx: &mut TenantTx, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE id = ").push_bind(id);
    tx.fetch_one(sql).await?.as_ref().map(stored).transpose()
}

pub(crate) async fn by_name(tx: &mut TenantTx, name: &str) -> Result<Option<StoredKey>, StoreError> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE name = ").push_bind(name);
    tx.fetch_one(sql).await?.as_ref().map(stored).transpose()
}

/// All keys; for checking a tenant as a whole and for its key set.
pub(crate) async fn all(tx: &mut TenantTx) -> Result<Vec<StoredKey>, StoreError> {
    tx.fetch(Sql::new(SELECT)).await?.iter().map(stored).collect()
}

/// The seals of all rows; for comparing them with the tenant's state.
pub(crate) async fn seals(tx: &mut TenantTx) -> Result<Vec<(KeyId, Vec<u8>)>, StoreError> {
    let rows = tx.fetch(Sql::new("SELECT id, sealed FROM {s}keys")).await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.get("sealed")?))).collect()
}

pub(crate) async fn list(tx: &mut TenantTx, filter: &Filter) -> Result<(Vec<StoredKey>, i64), StoreError> {
    let mut count = Sql::new("SELECT count(*) AS n FROM {s}keys");
    conditions(&mut count, filter);
    let total = tx.fetch_one(count).await?.map_or(Ok(0), |row| row.get("n"))?;
    let mut sql = Sql::new(SELECT);
    conditions(&mut sql, filter);
    sql.push(" ORDER BY ");
    for (column, descending) in &filter.sort {
        sql.push(column.name()).push(if *descending { " DESC, " } else { ", " });
    }
    // The id last: pages are the same each time.
    sql.push("id LIMIT ").push_bind(filter.size);
    sql.push(" OFFSET ").push_bind(i64::from(filter.page) * i64::from(filter.size));
    let rows = tx.fetch(sql).await?;
    Ok((rows.iter().map(stored).collect::<Result<_, _>>()?, total))
}

fn conditions(sql: &mut Sql, filter: &Filter) {
    let mut word = " WHERE ";
    for (column, values) in [("name", &filter.names), ("algorithm", &filter.algorithms), ("state", &filter.states)] {
        if values.is_empty() {
            continue;
        }
        sql.push(word).push(column).push(" IN (");
        for (at, value) in values.iter().enumerate() {
            sql.push(if at == 0 { "" } else { ", " }).push_bind(value.as_str());
        }
        sql.push(")");
        word = " AND ";
    }
}

pub(crate) async fn upsert(tx: &mut TenantTx, stored: &StoredKey) -> Result<(), StoreError> {
    let key = &stored.key;
    let sql = Sql::new(
        "INSERT INTO {s}keys (id, name, description, algorithm, state, managed_by, latest_version, created_at, updated_at, \
         state_seq, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO UPDATE SET \
         name = excluded.name, description = excluded.description, state = excluded.state, \
         managed_by = excluded.managed_by, latest_version = excluded.latest_version, updated_at = excluded.updated_at, \
         state_seq = excluded.state_seq, sealed = excluded.sealed",
    );
    let sql = sql.bind(key.id).bind(&key.name).bind(&key.description).bind(&key.algorithm).bind(key.state.name());
    let sql = sql.bind(key.managed_by.name()).bind(key.latest_version).bind(key.created_at).bind(key.updated_at);
    let seq = i64::try_from(stored.state_seq).unwrap_or(i64::MAX);
    tx.execute(sql.bind(seq).bind(stored.sealed.clone())).await.map(drop)
}
