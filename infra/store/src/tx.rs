//! A transaction on one space. Dropped without commit it is rolled back.

use std::marker::PhantomData;

use keyrealm_base::TenantId;
use tokio::sync::broadcast;

use crate::{Notice, Product, Row, Space, Sql, StatementHook, StoreError, TenantAccess, postgres, sqlite};

/// The control schema.
pub enum InControl {}
/// A product's realm-level schema.
pub enum InRealm {}
/// A tenant's schema.
pub enum InTenant {}

/// A transaction on the tenant registry.
pub type ControlTx = Tx<InControl>;
/// A transaction on what a product keeps above its tenants.
pub type RealmTx = Tx<InRealm>;
/// A transaction on a tenant's tables, and the only way to them.
pub type TenantTx = Tx<InTenant>;

/// Whose rights a transaction has and how it stands to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One consistent view.
    Read,
    /// Writes, each statement on what is committed by then.
    Write,
    /// As `Write`, one at a time in this space.
    Exclusive,
    /// `MigrationTx`: as `Exclusive`, with the rights of the schema's owner.
    Migration,
    /// On the control schema, with the rights of whoever creates tenants.
    Registrar,
}

/// Statements of one transaction, all in one space; `S` says in which kind.
pub struct Tx<S> {
    inner: Inner,
    space: Space,
    access: TenantAccess,
    hook: Option<StatementHook>,
    notices: broadcast::Sender<Notice>,
    pending: Vec<Notice>,
    reports: Vec<Sql>,
    kind: PhantomData<fn() -> S>,
}

pub(crate) enum Inner {
    Sqlite(sqlite::Transaction),
    Postgres(postgres::Transaction),
}

impl<S> Tx<S> {
    pub(crate) fn new(
        inner: Inner,
        space: Space,
        access: TenantAccess,
        hook: Option<StatementHook>,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        Self { inner, space, access, hook, notices, pending: Vec::new(), reports: Vec::new(), kind: PhantomData }
    }

    /// Runs a statement; the answer is the number of rows that it changed.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        self.announce(self.space, &sql.text);
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => tx.execute(sql).await,
            Inner::Postgres(tx) => tx.execute(sql).await,
        };
        done.map_err(|error| StoreError::from_sqlx(self.space, "a statement", &error))
    }

    /// Runs a query; the answer is all its rows.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn fetch(&mut self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        self.announce(self.space, &sql.text);
        let rows = match &mut self.inner {
            Inner::Sqlite(tx) => tx.fetch(sql).await,
            Inner::Postgres(tx) => tx.fetch(sql).await,
        };
        rows.map_err(|error| StoreError::from_sqlx(self.space, "a query", &error))
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
        if !self.pending.contains(&notice) {
            self.pending.push(notice);
        }
    }

    /// Makes it last. A change of a tenant bumps its epoch in the same transaction.
    ///
    /// # Errors
    /// When the database does not commit; nothing has changed then. Where it cannot write a report in the same transaction
    /// the change holds without it: a report that fails is logged, and who changes the tenant next finds it missing.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let bump = match (self.space, self.access) {
            (Space::Tenant(product, tenant), TenantAccess::Change) => Some((product, tenant)),
            _ => None,
        };
        if let Some((product, tenant)) = bump {
            self.announce(self.space, "epochs");
            let rows = match &mut self.inner {
                Inner::Sqlite(tx) => tx.bump().await,
                Inner::Postgres(tx) => tx.bump(product, tenant).await,
            };
            let rows = rows.map_err(|error| StoreError::from_sqlx(self.space, "the epoch", &error))?;
            let epoch = rows.first().ok_or(StoreError::Column("epoch"))?.get("epoch")?;
            self.pending.push(Notice::Epoch(product, tenant, epoch));
        }
        let failed = |error: &sqlx::Error| StoreError::from_sqlx(self.space, "the commit", error);
        let announce = |space: Space, text: &str| {
            if let Some(hook) = &self.hook {
                hook(space, text);
            }
        };
        let realm = match self.space {
            Space::Tenant(product, _) | Space::Realm(product) => Space::Realm(product),
            Space::Control => Space::Control,
        };
        let mut after = None;
        match self.inner {
            Inner::Sqlite(tx) => {
                announce(self.space, "COMMIT");
                let done = tx.commit().await.map_err(|error| failed(&error))?;
                after = (!self.reports.is_empty()).then_some(done);
            }
            Inner::Postgres(mut tx) => {
                if !self.reports.is_empty() {
                    tx.leave_role().await.map_err(|error| failed(&error))?;
                }
                for report in self.reports.drain(..) {
                    announce(realm, &report.text);
                    if tx.execute_in(realm, report).await.map_err(|error| failed(&error))? != 1 {
                        return Err(StoreError::Overtaken { space: realm });
                    }
                }
                for notice in &self.pending {
                    tx.notify(*notice).await.map_err(|error| failed(&error))?;
                }
                announce(self.space, "COMMIT");
                tx.commit().await.map_err(|error| failed(&error))?;
            }
        }
        for notice in self.pending {
            // Nobody may be listening.
            let _ = self.notices.send(notice);
        }
        if let Some(done) = after {
            let written = done.report(realm, self.reports, announce).await;
            if let Err(error) = written {
                tracing::warn!(%error, space = %self.space, "the change holds, but its report was not written");
            }
        }
        Ok(())
    }

    fn announce(&self, space: Space, text: &str) {
        if let Some(hook) = &self.hook {
            hook(space, text);
        }
    }

    pub(crate) fn inner(&mut self) -> &mut Inner {
        &mut self.inner
    }

    /// Tells the hook of a step that is made of statements of the store's own.
    pub(crate) fn step(&self, text: &str) {
        self.announce(self.space, text);
    }
}

impl TenantTx {
    /// A statement in the realm-level schema that reports what this transaction does and changes one row: run with the
    /// commit, in the same transaction where the database can, right after it elsewhere. Changes of one tenant and their
    /// reports do not overlap.
    pub fn report(&mut self, sql: Sql) {
        self.reports.push(sql);
    }

    /// A query in the product's realm-level schema; in the view of this transaction where the database can.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn fetch_realm(&mut self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        let (product, _) = self.place()?;
        let realm = Space::Realm(product);
        self.announce(realm, &sql.text);
        let rows = match &mut self.inner {
            Inner::Sqlite(tx) => tx.fetch_in(realm, sql).await?,
            Inner::Postgres(tx) => tx.fetch_as_login(realm, sql).await,
        };
        rows.map_err(|error| StoreError::from_sqlx(realm, "a query", &error))
    }

    /// The epoch of this tenant's schema, 0 before the first change.
    ///
    /// # Errors
    /// When the database refuses the query.
    pub async fn epoch(&mut self) -> Result<i64, StoreError> {
        let (product, tenant) = self.place()?;
        self.announce(self.space, "epochs");
        let rows = match &mut self.inner {
            Inner::Sqlite(tx) => tx.epoch().await,
            Inner::Postgres(tx) => tx.epoch(product, tenant).await,
        };
        let rows = rows.map_err(|error| StoreError::from_sqlx(self.space, "the epoch", &error))?;
        rows.first().map_or(Ok(0), |row| row.get("epoch"))
    }

    fn place(&self) -> Result<(Product, TenantId), StoreError> {
        match self.space {
            Space::Tenant(product, tenant) => Ok((product, tenant)),
            Space::Control | Space::Realm(_) => Err(StoreError::Column("tenant")),
        }
    }
}
