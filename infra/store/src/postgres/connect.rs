//! Connections: full verification against the given CA, and nothing below TLS 1.3.

use std::path::Path;
use std::time::Duration;

use keyrealm_config::{Login, Postgres};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};

use crate::StoreError;

/// How long a caller waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_mins(5);
/// Creating tenants is rare; one waits for the other.
const REGISTRAR_CONNECTIONS: u32 = 2;
/// Prepared statements kept on a connection. Their text has the tenant's schema in it, so there are many.
const STATEMENTS: usize = 200;

/// The product's connections; the login is checked on the first one.
pub(super) async fn product_pool(settings: &Postgres) -> Result<PgPool, StoreError> {
    let login = Login { user: settings.user.clone(), password_file: settings.password_file.clone() };
    let pool = pool(settings, &login, settings.connections)?;
    check_product_login(&pool, &login.user).await?;
    Ok(pool)
}

/// The registrar's connections.
pub(super) async fn registrar_pool(settings: &Postgres, login: &Login) -> Result<PgPool, StoreError> {
    let pool = pool(settings, login, REGISTRAR_CONNECTIONS)?;
    let attributes = attributes(&pool, &login.user).await?;
    if !attributes.creates_roles && !attributes.superuser {
        let mend = format!("ALTER ROLE {} CREATEROLE", super::names::quoted(&login.user));
        return Err(StoreError::Login { login: login.user.clone(), reason: "cannot create roles".to_owned(), mend });
    }
    Ok(pool)
}

/// The one connection that listens; it is taken back as often as it is lost.
pub(super) fn listener_pool(settings: &Postgres) -> Result<PgPool, StoreError> {
    let login = Login { user: settings.user.clone(), password_file: settings.password_file.clone() };
    Ok(builder(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(options(settings, &login)?))
}

fn pool(settings: &Postgres, login: &Login, connections: u32) -> Result<PgPool, StoreError> {
    Ok(builder(connections).connect_lazy_with(options(settings, login)?))
}

fn builder(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(IDLE)
        .after_connect(|connection, _| Box::pin(check_tls(connection)))
}

fn options(settings: &Postgres, login: &Login) -> Result<PgConnectOptions, StoreError> {
    let password = password(&login.password_file)?;
    Ok(PgConnectOptions::new_without_pgpass()
        .host(&settings.host)
        .port(settings.port)
        .database(&settings.database)
        .username(&login.user)
        .password(&password)
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(&settings.ca)
        .application_name("keyrealm")
        .statement_cache_capacity(STATEMENTS)
        .options([
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("client_min_messages", "warning"),
        ]))
}

fn password(path: &Path) -> Result<String, StoreError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| StoreError::File { path: path.to_owned(), reason: error.to_string() })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
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
}

async fn attributes(pool: &PgPool, login: &str) -> Result<Attributes, StoreError> {
    let row = sqlx::query("SELECT rolsuper, rolinherit, rolcreaterole FROM pg_roles WHERE rolname = current_user")
        .fetch_one(pool)
        .await
        .map_err(|error| StoreError::Connect { login: login.to_owned(), cause: error.to_string() })?;
    let read = |column: &str| row.try_get(column).map_err(|_| StoreError::Column("rolsuper"));
    Ok(Attributes {
        superuser: read("rolsuper")?,
        inherits: read("rolinherit")?,
        creates_roles: read("rolcreaterole")?,
    })
}

/// The product's login must be able to do nothing until it takes a tenant's role.
async fn check_product_login(pool: &PgPool, login: &str) -> Result<(), StoreError> {
    let attributes = attributes(pool, login).await?;
    let name = super::names::quoted(login);
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
