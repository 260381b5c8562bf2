//! SQLite: a folder with a file for each space, one writer and a few readers a file, never ATTACH.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column, Decode, Sqlite, TypeInfo, ValueRef};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::tx::Mode;
use crate::{Migration, Product, Row, Space, Sql, StatementHook, StoreError, Value};

/// Marks our files ("KyRm"), so that no other database is taken for one.
const APPLICATION_ID: i64 = 0x4b79_526d;
/// Open files at a time; the least used one is closed first.
const OPEN_FILES: u64 = 64;
const READERS: u32 = 4;
/// The store's own tables, in every file.
const OWN: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS {s}schema_versions (version BIGINT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS {s}epochs (id BIGINT PRIMARY KEY, epoch BIGINT NOT NULL)",
];
/// The milliseconds of the clock that all processes of this database share.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
const BUSY: Duration = Duration::from_secs(30);

/// A locked folder.
pub(crate) struct Folder {
    path: PathBuf,
    open: Cache<Space, Arc<Pools>>,
    /// Held for as long as the folder is in use.
    _lock: File,
}

struct Pools {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Whose change it is: longer than the writer's connection is held, until the report in the other file is written.
    turn: Arc<Mutex<()>>,
}

pub(crate) struct Transaction {
    inner: sqlx::Transaction<'static, Sqlite>,
    folder: Arc<Folder>,
    turn: Option<OwnedMutexGuard<()>>,
}

/// A committed transaction; the next change waits until this one has reported and is dropped.
pub(crate) struct Committed {
    folder: Arc<Folder>,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed =
            |path: &Path, error: std::io::Error| StoreError::File { path: path.to_owned(), reason: error.to_string() };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed(path, error))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(|error| failed(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::FolderInUse(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(failed(&lock_path, error)),
        }
        Ok(Self { path: path.to_owned(), open: Cache::new(OPEN_FILES), _lock: lock })
    }

    fn file(&self, space: Space) -> PathBuf {
        self.path.join(format!("{space}.sqlite"))
    }

    pub(crate) async fn begin(self: &Arc<Self>, space: Space, mode: Mode) -> Result<Transaction, StoreError> {
        let pools = self.pools(space, false).await?;
        let turn = match mode {
            Mode::Exclusive => Some(Arc::clone(&pools.turn).lock_owned().await),
            Mode::Read | Mode::Write | Mode::Migration | Mode::Registrar => None,
        };
        let begun = match mode {
            Mode::Read => pools.readers.begin().await,
            // IMMEDIATE: a reader that turns into a writer could lose to another one and would have to start again.
            _ => pools.writer.begin_with("BEGIN IMMEDIATE").await,
        };
        let inner = begun.map_err(|error| StoreError::from_sqlx(space, "begin", &error))?;
        Ok(Transaction { inner, folder: Arc::clone(self), turn })
    }

    /// The file's connections. Only a migration makes a file: whoever comes late does not bring back a dropped one.
    async fn pools(&self, space: Space, make: bool) -> Result<Arc<Pools>, StoreError> {
        self.open.try_get_with(space, self.connect(space, make)).await.map_err(Arc::unwrap_or_clone)
    }

    async fn connect(&self, space: Space, make: bool) -> Result<Arc<Pools>, StoreError> {
        let path = self.file(space);
        let failed = |reason: String| StoreError::File { path: path.clone(), reason };
        // Made here, since SQLite would give it the mode of the umask.
        match OpenOptions::new().create(make).truncate(false).write(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NotPrepared { space });
            }
            opened => opened.map_err(|error| failed(error.to_string()))?,
        };
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .pragma("secure_delete", "ON");
        let lower = |error: sqlx::Error| failed(error.to_string());
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(lower)?;
        let found: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&writer).await.map_err(lower)?;
        if found == 0 {
            let tables: i64 =
                sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(&writer).await.map_err(lower)?;
            if tables > 0 {
                return Err(failed("this is another application's database; choose another folder".to_owned()));
            }
            let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
            sqlx::query(AssertSqlSafe(mark)).execute(&writer).await.map_err(lower)?;
        } else if found != APPLICATION_ID {
            return Err(failed("this is another application's database; choose another folder".to_owned()));
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Arc::new(Pools { writer, readers, turn: Arc::default() }))
    }

    /// Brings a file up to the last migration, each in one transaction.
    pub(crate) async fn migrate(
        self: &Arc<Self>,
        space: Space,
        migrations: &[Migration],
        hook: Option<&StatementHook>,
    ) -> Result<(), StoreError> {
        self.pools(space, true).await?;
        let known = migrations.last().map_or(0, |last| last.version);
        let found = self.schema_version(space).await?;
        if found > known {
            return Err(StoreError::Newer { space, found, known });
        }
        let failed = |error: sqlx::Error| StoreError::from_sqlx(space, "a migration", &error);
        let announce = |text: &str| {
            if let Some(hook) = hook {
                hook(space, text);
            }
        };
        for migration in migrations.iter().filter(|migration| migration.version > found) {
            let mut tx = self.begin(space, Mode::Migration).await?;
            announce("schema_versions");
            // Another task may have been faster: then its row stops this one before anything else runs.
            let mark = Sql::new("INSERT INTO {s}schema_versions (version) VALUES ($1) ON CONFLICT DO NOTHING");
            if tx.execute(mark.bind(migration.version)).await.map_err(failed)? == 0 {
                continue;
            }
            for statement in migration.statements {
                announce(statement);
                tx.execute(Sql::new(statement)).await.map_err(failed)?;
            }
            announce("COMMIT");
            tx.commit().await.map_err(failed)?;
        }
        Ok(())
    }

    /// The version of a file's tables; 0 for a new one.
    pub(crate) async fn schema_version(self: &Arc<Self>, space: Space) -> Result<i64, StoreError> {
        let failed = |error: sqlx::Error| StoreError::from_sqlx(space, "reading its version", &error);
        let mut tx = self.begin(space, Mode::Migration).await?;
        for statement in OWN {
            tx.execute(Sql::new(statement)).await.map_err(failed)?;
        }
        let version = Sql::new("SELECT COALESCE(MAX(version), 0) AS version FROM {s}schema_versions");
        let rows = tx.fetch(version).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        rows.first().map_or(Ok(0), |row| row.get("version"))
    }

    /// Runs a statement on a table that may have gone already, and makes sure that what it took away is not left in the
    /// log of the file.
    pub(crate) async fn erase(self: &Arc<Self>, space: Space, table: &str, sql: Sql) -> Result<(), StoreError> {
        let failed = |error: sqlx::Error| StoreError::from_sqlx(space, "erasing", &error);
        let mut tx = match self.begin(space, Mode::Exclusive).await {
            Err(StoreError::NotPrepared { .. }) => return Ok(()),
            begun => begun?,
        };
        let there = Sql::new("SELECT name FROM sqlite_master WHERE type = 'table' AND name = $1").bind(table);
        if tx.fetch(there).await.map_err(failed)?.is_empty() {
            return Ok(());
        }
        tx.execute(sql).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        checkpoint.execute(&self.pools(space, false).await?.writer).await.map_err(failed).map(drop)
    }

    /// Whether any tenant of this product has a file.
    pub(crate) fn has_tenants(&self, product: Product) -> Result<bool, StoreError> {
        let failed = |error: std::io::Error| StoreError::File { path: self.path.clone(), reason: error.to_string() };
        let (prefix, realm) = (format!("{product}_"), format!("{}.sqlite", Space::Realm(product)));
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(".sqlite") && name != realm {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) async fn remove(&self, space: Space) -> Result<(), StoreError> {
        let file = self.file(space);
        let unlink = |suffix: &str| {
            let path = PathBuf::from(format!("{}{suffix}", file.display()));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(StoreError::File { path, reason: error.to_string() })
                }
                _ => Ok(()),
            }
        };
        // The file first: from then on nobody can open it again, and the connections that there are end.
        unlink("")?;
        if let Some(pools) = self.open.remove(&space).await {
            pools.readers.close().await;
            pools.writer.close().await;
        }
        unlink("-wal")?;
        unlink("-shm")
    }

    pub(crate) async fn close(&self) {
        for (_, pools) in &self.open {
            pools.readers.close().await;
            pools.writer.close().await;
        }
        self.open.invalidate_all();
    }
}

impl Transaction {
    pub(crate) async fn execute(&mut self, sql: Sql) -> Result<u64, sqlx::Error> {
        let (text, arguments) = render(sql)?;
        let done = sqlx::query_with(AssertSqlSafe(text), arguments).execute(&mut *self.inner).await?;
        Ok(done.rows_affected())
    }

    pub(crate) async fn fetch(&mut self, sql: Sql) -> Result<Vec<Row>, sqlx::Error> {
        let (text, arguments) = render(sql)?;
        let rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch_all(&mut *self.inner).await?;
        rows.iter().map(read).collect()
    }

    /// A query in another file: no transaction spans files.
    pub(crate) async fn fetch_in(
        &mut self,
        space: Space,
        sql: Sql,
    ) -> Result<Result<Vec<Row>, sqlx::Error>, StoreError> {
        let mut other = self.folder.begin(space, Mode::Read).await?;
        Ok(other.fetch(sql).await)
    }

    /// The epoch of the tenant's file.
    pub(crate) async fn epoch(&mut self) -> Result<Vec<Row>, sqlx::Error> {
        self.fetch(Sql::new("SELECT epoch FROM {s}epochs WHERE id = 1")).await
    }

    /// Bumps the epoch of the tenant's file.
    pub(crate) async fn bump(&mut self) -> Result<Vec<Row>, sqlx::Error> {
        let bump = "INSERT INTO {s}epochs (id, epoch) VALUES (1, 1) \
                    ON CONFLICT (id) DO UPDATE SET epoch = epochs.epoch + 1 RETURNING epoch";
        self.fetch(Sql::new(bump)).await
    }

    pub(crate) async fn commit(self) -> Result<Committed, sqlx::Error> {
        self.inner.commit().await?;
        Ok(Committed { folder: self.folder, _turn: self.turn })
    }
}

impl Committed {
    /// Reports in another file what was committed: each statement changes one row.
    pub(crate) async fn report(
        self,
        space: Space,
        reports: Vec<Sql>,
        announce: impl Fn(Space, &str),
    ) -> Result<(), StoreError> {
        let failed = |error: sqlx::Error| StoreError::from_sqlx(space, "a report", &error);
        let mut tx = self.folder.begin(space, Mode::Write).await?;
        for report in reports {
            announce(space, &report.text);
            if tx.execute(report).await.map_err(failed)? != 1 {
                return Err(StoreError::Overtaken { space });
            }
        }
        announce(space, "COMMIT");
        tx.commit().await.map_err(failed).map(drop)
    }
}

/// The one place where a statement's text is completed: a file has no schema, bytes are BLOB.
fn render(sql: Sql) -> Result<(String, SqliteArguments), sqlx::Error> {
    use sqlx::Arguments;
    let mut arguments = SqliteArguments::default();
    for value in sql.values {
        match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Int(int) => arguments.add(int),
            Value::Text(text) => arguments.add(text),
            Value::Blob(bytes) => arguments.add(bytes),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    let text = sql.text.replace("{s}", "").replace("{blob}", "BLOB").replace("{now}", NOW);
    Ok((text, arguments))
}

fn read(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    use sqlx::Row as _;
    let column = |at: usize, column: &<Sqlite as sqlx::Database>::Column| {
        let raw = row.try_get_raw(at)?;
        let decode = sqlx::Error::Decode;
        let value = match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" => Value::Int(Decode::<Sqlite>::decode(raw).map_err(decode)?),
            "BLOB" => Value::Blob(Decode::<Sqlite>::decode(raw).map_err(decode)?),
            _ => Value::Text(Decode::<Sqlite>::decode(raw).map_err(decode)?),
        };
        Ok((column.name().to_owned(), value))
    };
    row.columns().iter().enumerate().map(|(at, c)| column(at, c)).collect::<Result<_, _>>().map(Row)
}
