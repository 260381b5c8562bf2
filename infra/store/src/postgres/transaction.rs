//! A transaction: role and path are set for it alone.

use keyrealm_base::TenantId;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, PgPool, Postgres};

use super::names::Roles;
use super::pool::{Held, Pool};
use super::values;
use crate::tx::Mode;
use crate::{Notice, Product, Row, Space, Sql, StoreError};

/// The channel of notices; one database is one realm.
pub(super) const CHANNEL: &str = "keyrealm";

pub(crate) struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    space: Space,
    /// `SET LOCAL ROLE` to the tenant's role, to come back from the realm-level schema.
    role: Option<String>,
    /// Ends after the transaction.
    _held: Held,
}

impl Transaction {
    pub(super) async fn begin(
        (pool, own): (&Pool, &PgPool),
        roles: Option<&Roles>,
        space: Space,
        mode: Mode,
    ) -> Result<Self, StoreError> {
        let roles = || roles.ok_or(StoreError::NotBound);
        let role = match (space, mode) {
            (Space::Control, _) => None,
            (_, Mode::Migration) => Some(roles()?.owner(space)),
            (Space::Tenant(..), _) => Some(roles()?.user(space)),
            // The product's login itself has the rights there.
            (Space::Realm(_), _) => None,
        };
        let role = role.map(|role| format!("SET LOCAL ROLE \"{role}\""));
        let mut first = Vec::new();
        if mode == Mode::Read {
            first.push("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned());
        }
        if matches!(mode, Mode::Exclusive | Mode::Migration | Mode::Registrar) {
            first.push(format!("SELECT pg_advisory_xact_lock(hashtextextended('keyrealm {space}', 0))"));
        }
        first.extend(role.clone());
        first.push(format!("SET LOCAL search_path TO \"{space}\""));
        let failed = |error: sqlx::Error| StoreError::from_sqlx(space, "begin", &error);
        // A round trip of its own: sqlx rolls back what fails or is dropped only after this one has answered. In one with
        // the BEGIN, a caller who goes away would leave the role and the lock to whoever gets the connection next.
        let (mut inner, held) = pool.begin(own).await.map_err(failed)?;
        if let Err(error) = raw(&mut inner, &first.join("; ")).await {
            let error = failed(error);
            if matches!(error, StoreError::Denied { .. }) && pool.may_end_one() {
                // A connection keeps in memory which roles it may take. What it looked up while others were just being granted can
                // lack those (seen on PostgreSQL 15), until roles are granted again: so it ends, and who tries again has another.
                let _ = raw(&mut inner, "ROLLBACK; SELECT pg_terminate_backend(pg_backend_pid())").await;
            }
            return Err(error);
        }
        Ok(Self { inner, space, role, _held: held })
    }

    pub(crate) async fn execute(&mut self, sql: Sql) -> Result<u64, sqlx::Error> {
        values::execute(&mut self.inner, self.space, sql).await
    }

    /// Fixed statements without values, in one round trip.
    pub(crate) async fn execute_all(&mut self, statements: &[&'static str]) -> Result<(), sqlx::Error> {
        raw(&mut self.inner, &values::complete(self.space, &statements.join("; "))).await
    }

    pub(crate) async fn fetch(&mut self, sql: Sql) -> Result<Vec<Row>, sqlx::Error> {
        values::fetch(&mut self.inner, self.space, sql).await
    }

    /// Gives up the space's role: what follows is done by the login itself.
    pub(crate) async fn leave_role(&mut self) -> Result<(), sqlx::Error> {
        raw(&mut self.inner, "SET LOCAL ROLE NONE").await
    }

    /// Takes the space's role again.
    pub(crate) async fn enter_role(&mut self) -> Result<(), sqlx::Error> {
        match &self.role {
            Some(role) => raw(&mut self.inner, role).await,
            None => Ok(()),
        }
    }

    /// A statement in another space; the role must be left.
    pub(crate) async fn execute_in(&mut self, space: Space, sql: Sql) -> Result<u64, sqlx::Error> {
        values::execute(&mut self.inner, space, sql).await
    }

    /// A query in another space; the role must be left.
    pub(crate) async fn fetch_in(&mut self, space: Space, sql: Sql) -> Result<Vec<Row>, sqlx::Error> {
        values::fetch(&mut self.inner, space, sql).await
    }

    /// A query that the login itself makes, in between those of the space's role.
    pub(crate) async fn fetch_as_login(&mut self, space: Space, sql: Sql) -> Result<Vec<Row>, sqlx::Error> {
        self.leave_role().await?;
        let rows = self.fetch_in(space, sql).await?;
        self.enter_role().await?;
        Ok(rows)
    }

    /// The tenant's epoch. The tenant's role may not see it: it lies in the control schema.
    pub(crate) async fn epoch(&mut self, product: Product, tenant: TenantId) -> Result<Vec<Row>, sqlx::Error> {
        let sql = Sql::new("SELECT epoch FROM {s}epochs WHERE product = $1 AND tenant = $2");
        self.fetch_as_login(Space::Control, sql.bind(product.name()).bind(tenant)).await
    }

    /// Bumps the tenant's epoch; the space's role is left with it.
    pub(crate) async fn bump(&mut self, product: Product, tenant: TenantId) -> Result<Vec<Row>, sqlx::Error> {
        let sql = Sql::new(
            "INSERT INTO {s}epochs (product, tenant, epoch) VALUES ($1, $2, 1) ON CONFLICT (product, tenant) \
             DO UPDATE SET epoch = epochs.epoch + 1 RETURNING epoch",
        );
        self.leave_role().await?;
        self.fetch_in(Space::Control, sql.bind(product.name()).bind(tenant)).await
    }

    /// Tells everybody at the commit.
    pub(crate) async fn notify(&mut self, notice: Notice) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(notice.to_string())
            .execute(&mut *self.inner)
            .await
            .map(drop)
    }

    /// Statements that are made of our own names alone.
    pub(super) async fn raw(&mut self, text: &str) -> Result<(), StoreError> {
        raw(&mut self.inner, text).await.map_err(|error| StoreError::from_sqlx(self.space, "a statement", &error))
    }

    /// The first column of the first row, for reading the catalog.
    pub(super) async fn scalar(&mut self, text: &str, name: &str) -> Result<Option<String>, StoreError> {
        let found: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(text.to_owned()))
            .bind(name)
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(|error| StoreError::from_sqlx(self.space, "a query", &error))?;
        Ok(found.flatten())
    }

    /// The first column of all rows, for reading the catalog.
    pub(super) async fn names(&mut self, text: &str, name: &str) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(AssertSqlSafe(text.to_owned()))
            .bind(name)
            .fetch_all(&mut *self.inner)
            .await
            .map_err(|error| StoreError::from_sqlx(self.space, "a query", &error))
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.inner.commit().await
    }
}

async fn raw(connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.map(drop)
}
