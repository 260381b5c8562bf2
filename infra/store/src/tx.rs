//! A transaction on one space. Dropped without commit it is rolled back.

use tokio::sync::broadcast;

use crate::{Notice, Row, Space, Sql, StatementHook, StoreError, TenantAccess, sqlite};

/// Statements of one transaction, all in one space.
pub struct Tx {
    inner: sqlite::Transaction,
    space: Space,
    access: TenantAccess,
    hook: Option<StatementHook>,
    notices: broadcast::Sender<Notice>,
    pending: Vec<Notice>,
}

impl Tx {
    pub(crate) fn new(
        inner: sqlite::Transaction,
        space: Space,
        access: TenantAccess,
        hook: Option<StatementHook>,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        Self { inner, space, access, hook, notices, pending: Vec::new() }
    }

    /// Where this transaction is.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Runs a statement; the answer is the number of rows that it changed.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        self.announce(&sql.text);
        self.inner.execute(sql).await.map_err(|error| StoreError::from_sqlx(self.space, "a statement", &error))
    }

    /// Runs a query; the answer is all its rows.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn fetch(&mut self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        self.announce(&sql.text);
        self.inner.fetch(sql).await.map_err(|error| StoreError::from_sqlx(self.space, "a query", &error))
    }

    /// Runs a query for at most one row.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn fetch_one(&mut self, sql: Sql) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(sql).await?.into_iter().next())
    }

    /// Tells everybody once this transaction is committed.
    pub fn notify(&mut self, notice: Notice) {
        self.pending.push(notice);
    }

    /// Makes it last. A change of a tenant bumps its epoch in the same transaction.
    ///
    /// # Errors
    /// When the database does not commit; nothing has changed then.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if let (Space::Tenant(product, tenant), TenantAccess::Change) = (self.space, self.access) {
            let bump = "INSERT INTO {s}epochs (id, epoch) VALUES (1, 1) \
                        ON CONFLICT (id) DO UPDATE SET epoch = epochs.epoch + 1 RETURNING epoch";
            let row = self.fetch_one(Sql::new(bump)).await?.ok_or(StoreError::Column("epoch"))?;
            self.pending.push(Notice::Epoch(product, tenant, row.get("epoch")?));
        }
        self.announce("COMMIT");
        self.inner.commit().await.map_err(|error| StoreError::from_sqlx(self.space, "the commit", &error))?;
        for notice in self.pending {
            // Nobody may be listening.
            let _ = self.notices.send(notice);
        }
        Ok(())
    }

    /// The epoch of this tenant's schema, 0 before the first change.
    ///
    /// # Errors
    /// When the database refuses the query.
    pub async fn epoch(&mut self) -> Result<i64, StoreError> {
        let row = self.fetch_one(Sql::new("SELECT epoch FROM {s}epochs WHERE id = 1")).await?;
        row.map_or(Ok(0), |row| row.get("epoch"))
    }

    fn announce(&self, text: &str) {
        if let Some(hook) = &self.hook {
            hook(self.space, text);
        }
    }
}
