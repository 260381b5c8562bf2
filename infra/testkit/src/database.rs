//! A database for one test, on either kind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyrealm_base::{DeploymentId, ObjectId, SystemClock};
use keyrealm_config::{Database as Settings, Login, Postgres};
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_store::{Database, Product, RegistrarAccess, Space, StatementHook};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::PostgresServer;

/// Which kind of database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum On {
    /// A folder of files.
    Sqlite,
    /// A real server.
    Postgres,
}

/// An empty database that goes after the test. It can be handed to a child process as JSON.
#[derive(Serialize, Deserialize)]
pub struct TestDatabase {
    on: On,
    folder: PathBuf,
    /// Takes the folder away; not in a child process.
    #[serde(skip)]
    _keep: Option<TempDir>,
    /// The name of the PostgreSQL database; the logins end in it.
    name: String,
    server: Option<PostgresServer>,
    /// For tests of the store alone, which have no registry.
    pub deployment: DeploymentId,
    /// The lease of PostgreSQL.
    pub lease_seconds: u32,
}

const PASSWORD: &str = "a-password-for-tests";

impl TestDatabase {
    /// Makes one.
    pub async fn new(on: On) -> Self {
        Self::with(on, (on == On::Postgres).then(|| PostgresServer::shared().clone())).await
    }

    /// Makes one on a certain server.
    pub async fn on_server(server: PostgresServer) -> Self {
        Self::with(On::Postgres, Some(server)).await
    }

    async fn with(on: On, server: Option<PostgresServer>) -> Self {
        // Found again in a log by when the test ran.
        let name = format!("t_{}", ObjectId::new(&SystemClock, &SystemRandom).to_string().replace('-', ""));
        let deployment = DeploymentId::new(&SystemClock, &SystemRandom);
        let folder = tempfile::tempdir().unwrap();
        let test = Self {
            on,
            folder: folder.path().to_owned(),
            _keep: Some(folder),
            name,
            server,
            deployment,
            lease_seconds: 10,
        };
        if let Some(server) = &test.server {
            let password = test.folder.join("password");
            fs::write(&password, PASSWORD).unwrap();
            fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
            let name = &test.name;
            server.run("postgres", &format!("CREATE DATABASE {name}")).await;
            let logins = format!(
                "CREATE ROLE kms_{name} LOGIN NOINHERIT PASSWORD '{PASSWORD}'; \
                 CREATE ROLE identity_{name} LOGIN NOINHERIT PASSWORD '{PASSWORD}'; \
                 CREATE ROLE registrar_{name} LOGIN CREATEROLE PASSWORD '{PASSWORD}'; \
                 GRANT CREATE ON DATABASE {name} TO registrar_{name}"
            );
            server.run("postgres", &logins).await;
        }
        test
    }

    /// Which kind it is.
    #[must_use]
    pub fn on(&self) -> On {
        self.on
    }

    /// The folder of SQLite files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of the PostgreSQL database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The login of a product, or of the registrar where there is none.
    #[must_use]
    pub fn login(&self, product: Option<Product>) -> String {
        format!("{}_{}", product.map_or("registrar", Product::name), self.name)
    }

    /// The password of all logins.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    /// The configuration of a product that uses it.
    #[must_use]
    pub fn settings(&self, product: Product) -> Settings {
        let Some(server) = &self.server else {
            return Settings { folder: self.folder.join("data"), ..Settings::default() };
        };
        let postgres = Postgres {
            host: server.host.to_string(),
            port: server.port,
            database: self.name.clone(),
            user: self.login(Some(product)),
            password_file: self.password_file(),
            ca: server.ca(),
            connections: 8,
            lease_seconds: self.lease_seconds,
        };
        let registrar = Login { user: self.login(None), password_file: self.password_file() };
        Settings { folder: PathBuf::new(), postgres: Some(postgres), registrar: Some(registrar) }
    }

    /// The registrar's login, as the operator has it.
    #[must_use]
    pub fn registrar_access(&self) -> RegistrarAccess {
        let server = self.server();
        RegistrarAccess {
            host: server.host.to_string(),
            port: server.port,
            database: self.name.clone(),
            user: self.login(None),
            password: SecretBytes::copy_of(PASSWORD.as_bytes()),
            ca_pem: fs::read_to_string(server.ca()).unwrap(),
        }
    }

    /// Opens it as the operator does.
    pub async fn open_registrar(&self, hook: Option<StatementHook>) -> Arc<Database> {
        Database::open_registrar(self.registrar_access(), hook).await.unwrap()
    }

    /// The configuration of a product with a login that the operator made.
    #[must_use]
    pub fn settings_with(&self, product: Product, login: &str, password: &str) -> Settings {
        let file = self.folder.join(format!("password-of-{login}"));
        fs::write(&file, password).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut settings = self.settings(product);
        settings.registrar = None;
        if let Some(postgres) = &mut settings.postgres {
            (postgres.user, postgres.password_file) = (login.to_owned(), file);
        }
        settings
    }

    /// Opens it as a product.
    pub async fn open(&self, product: Product, hook: Option<StatementHook>) -> Arc<Database> {
        Database::open(&self.settings(product), product, hook).await.unwrap()
    }

    /// Opens it as a product, ready for schemas: for tests below the registry.
    pub async fn open_bound(&self, product: Product, hook: Option<StatementHook>) -> Arc<Database> {
        let database = self.open(product, hook).await;
        database.migrate(Space::Control, &[]).await.unwrap();
        database.bind(self.deployment).unwrap();
        database
    }

    /// The PostgreSQL server.
    #[must_use]
    pub fn server(&self) -> &PostgresServer {
        self.server.as_ref().expect("a test on PostgreSQL")
    }

    /// Runs statements as the superuser of PostgreSQL, in this database.
    pub async fn run(&self, statements: &str) {
        self.server().run(&self.name, statements).await;
    }

    /// Keeps what a space holds now. A SQLite database must be closed.
    pub async fn save(&self, space: Space) {
        match self.on {
            On::Sqlite => {
                fs::copy(self.file(space), self.folder.join("saved")).unwrap();
            }
            On::Postgres => {
                self.run(&format!(
                    "DO $$ DECLARE t text; BEGIN CREATE SCHEMA saved; \
                     FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = '{space}' LOOP \
                     EXECUTE format('CREATE TABLE saved.%I AS TABLE {space}.%I', t, t); END LOOP; END $$"
                ))
                .await;
            }
        }
    }

    /// Puts back what was kept. A SQLite database must be closed.
    pub async fn restore(&self, space: Space) {
        match self.on {
            On::Sqlite => {
                for suffix in ["-wal", "-shm"] {
                    let _ = fs::remove_file(format!("{}{suffix}", self.file(space).display()));
                }
                fs::copy(self.folder.join("saved"), self.file(space)).unwrap();
            }
            On::Postgres => {
                self.run(&format!(
                    "SET session_replication_role = replica; \
                     DO $$ DECLARE t text; BEGIN \
                     FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'saved' LOOP \
                     EXECUTE format('DELETE FROM {space}.%I', t); \
                     EXECUTE format('INSERT INTO {space}.%I SELECT * FROM saved.%I', t, t); END LOOP; END $$"
                ))
                .await;
            }
        }
    }

    /// Everything that it holds, by file or table, for finding what should not be there. Bytes of PostgreSQL are hex digits.
    pub async fn content(&self) -> Vec<(String, Vec<u8>)> {
        let Some(server) = &self.server else {
            let files = fs::read_dir(self.folder.join("data")).unwrap();
            let read = |path: PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
            return files.map(|file| read(file.unwrap().path())).collect();
        };
        let mut connection = server.connect(&self.name, "postgres", &server.password).await;
        let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
                      WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
        let mut content = Vec::new();
        for table in tables {
            let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
            let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut connection).await.unwrap();
            content.push((table, rows.join("\n").into_bytes()));
        }
        content
    }

    fn file(&self, space: Space) -> PathBuf {
        self.folder.join("data").join(format!("{space}.sqlite"))
    }
}
