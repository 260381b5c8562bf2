//! Connections: full verification against the given CA, and nothing below TLS 1.3.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use keyrealm_config::{Login, Postgres};
use keyrealm_tls::read_private;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};

use super::names::quoted;
use crate::{RegistrarAccess, StoreError};

/// How long a caller waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_mins(5);
/// Prepared statements kept on a connection. Their text has the tenant's schema in it, so there are many.
const STATEMENTS: usize = 200;

/// How to connect as one login. What lies in files is read again for each new use, since passwords are exchanged.
#[derive(Clone)]
pub(super) enum Access {
    /// A login of the configuration.
    Files(Arc<Postgres>, Login),
    /// The registrar's, all in memory.
    Memory(Arc<RegistrarAccess>),
}

impl Access {
    pub(super) fn product(settings: &Postgres) -> Self {
        let login = Login { user: settings.user.clone(), password_file: settings.password_file.clone() };
        Self::Files(Arc::new(settings.clone()), login)
    }

    pub(super) fn user(&self) -> &str {
        match self {
            Self::Files(_, login) => &login.user,
            Self::Memory(access) => &access.user,
        }
    }

    fn options(&self) -> Result<PgConnectOptions, StoreError> {
        let options = PgConnectOptions::new_without_pgpass()
            .username(self.user())
            .ssl_mode(PgSslMode::VerifyFull)
            .application_name("keyrealm")
            .statement_cache_capacity(STATEMENTS)
            .options([
                ("statement_timeout", "30s"),
                ("lock_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "60s"),
                ("client_min_messages", "warning"),
            ]);
        match self {
            Self::Files(settings, login) => {
                let unusable = |reason: String| StoreError::File { path: login.password_file.clone(), reason };
                let password = read_private(&login.password_file).map_err(|error| unusable(error.to_string()))?;
                let password = str::from_utf8(password.expose()).map_err(|_| unusable("is not UTF-8".to_owned()))?;
                let options = options.host(&settings.host).port(settings.port).database(&settings.database);
                Ok(options.password(password.trim_end_matches(['\r', '\n'])).ssl_root_cert(&settings.ca))
            }
            Self::Memory(access) => {
                let password = str::from_utf8(access.password.expose()).map_err(|_| StoreError::Login {
                    login: access.user.clone(),
                    reason: "has a password that is not UTF-8".to_owned(),
                    mend: format!("ALTER ROLE {} PASSWORD '...'", quoted(&access.user)),
                })?;
                let options = options.host(&access.host).port(access.port).database(&access.database);
                Ok(options.password(password).ssl_root_cert_from_pem(access.ca_pem.clone().into_bytes()))
            }
        }
    }
}

/// Looks whether a product's login is as it must be.
pub(super) async fn check_product(access: &Access) -> Result<(), StoreError> {
    check_product_login(attributes(&access.options()?, access.user()).await?, access.user())
}

/// Looks whether the registrar's login is as it must be.
pub(super) async fn check_registrar(access: &Access) -> Result<(), StoreError> {
    check_registrar_login(attributes(&access.options()?, access.user()).await?, access.user())
}

/// Connections that are made when they are needed.
pub(super) fn pool(access: &Access, connections: u32) -> Result<PgPool, StoreError> {
    Ok(builder(connections).connect_lazy_with(access.options()?))
}

/// For the one connection that listens, and for that alone: a lost one is not waited for.
pub(super) fn listener_pool(access: &Access) -> Result<PgPool, StoreError> {
    Ok(builder(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(access.options()?))
}

fn builder(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(IDLE)
        .after_connect(|connection, _| Box::pin(check_tls(connection)))
}

/// A connection outside any pool: a pool would not say why it has none. It ends with the caller.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = loop {
        match PgConnection::connect_with(options).await {
            // As a pool does: a server that is just starting is waited for.
            Err(sqlx::Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            connected => break connected?,
        }
    };
    check_tls(&mut connection).await?;
    Ok(connection)
}

/// sqlx brings its own TLS settings, which would take 1.2, too: the server says what was agreed on.
async fn check_tls(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let version: Option<String> = sqlx::query_scalar("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_optional(&mut *connection)
        .await?
        .flatten();
    if version.as_deref() == Some("TLSv1.3") {
        return connection.ping().await;
    }
    let reason = format!(
        "the connection uses {}, not TLSv1.3; set ssl_min_protocol_version = 'TLSv1.3' in postgresql.conf",
        version.as_deref().unwrap_or("no TLS")
    );
    Err(sqlx::Error::Tls(reason.into()))
}

struct Attributes {
    superuser: bool,
    inherits: bool,
    creates_roles: bool,
    creates_schemas: bool,
    database: String,
}

async fn attributes(options: &PgConnectOptions, login: &str) -> Result<Attributes, StoreError> {
    let query = "SELECT rolsuper, rolinherit, rolcreaterole, has_database_privilege(current_database(), 'CREATE') AS creates, \
                 current_database()::text AS database FROM pg_roles WHERE rolname = current_user";
    let read = async { sqlx::query(query).fetch_one(&mut connect(options).await?).await };
    let row = tokio::time::timeout(ACQUIRE, read)
        .await
        .map_err(|_| StoreError::silent(login))?
        .map_err(|error| StoreError::connect(login, &error))?;
    let read = |column: &str| row.try_get(column).map_err(|_| StoreError::Column("rolsuper"));
    Ok(Attributes {
        superuser: read("rolsuper")?,
        inherits: read("rolinherit")?,
        creates_roles: read("rolcreaterole")?,
        creates_schemas: read("creates")?,
        database: row.try_get("database").map_err(|_| StoreError::Column("database"))?,
    })
}

/// The registrar's login makes roles and schemas, and moves schemas aside that it owns by membership alone.
fn check_registrar_login(attributes: Attributes, login: &str) -> Result<(), StoreError> {
    let name = quoted(login);
    let (reason, mend) = if attributes.superuser {
        return Ok(());
    } else if !attributes.creates_roles {
        ("cannot create roles", format!("ALTER ROLE {name} CREATEROLE"))
    } else if !attributes.creates_schemas {
        let database = quoted(&attributes.database);
        ("cannot create schemas in the database", format!("GRANT CREATE ON DATABASE {database} TO {name}"))
    } else if !attributes.inherits {
        ("does not inherit the rights of the roles that it makes", format!("ALTER ROLE {name} INHERIT"))
    } else {
        return Ok(());
    };
    Err(StoreError::Login { login: login.to_owned(), reason: reason.to_owned(), mend })
}

/// The product's login must be able to do nothing until it takes a tenant's role.
fn check_product_login(attributes: Attributes, login: &str) -> Result<(), StoreError> {
    let name = quoted(login);
    let refuse = |reason: &str, mend: String| {
        Err(StoreError::Login { login: login.to_owned(), reason: reason.to_owned(), mend })
    };
    if attributes.superuser {
        return refuse("is a superuser, for whom tenants are not separated", format!("ALTER ROLE {name} NOSUPERUSER"));
    }
    if attributes.inherits {
        return refuse("inherits the rights of all tenants' roles", format!("ALTER ROLE {name} NOINHERIT"));
    }
    if attributes.creates_roles {
        let mend = format!("ALTER ROLE {name} NOCREATEROLE, and give database.registrar a login of its own");
        return refuse("can create roles", mend);
    }
    Ok(())
}
