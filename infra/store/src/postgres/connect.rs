//! Connections: full verification against the given CA, and nothing below TLS 1.3.

use std::io::ErrorKind;
use std::time::Duration;

use keyrealm_config::{Login, Postgres};
use keyrealm_tls::read_private;
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
    let options = options(settings, &login)?;
    check_product_login(attributes(&options, &login.user).await?, &login.user)?;
    Ok(builder(settings.connections).connect_lazy_with(options))
}

/// The registrar's connections.
pub(super) async fn registrar_pool(settings: &Postgres, login: &Login) -> Result<PgPool, StoreError> {
    let options = options(settings, login)?;
    let attributes = attributes(&options, &login.user).await?;
    if !attributes.creates_roles && !attributes.superuser {
        let mend = format!("ALTER ROLE {} CREATEROLE", super::names::quoted(&login.user));
        return Err(StoreError::Login { login: login.user.clone(), reason: "cannot create roles".to_owned(), mend });
    }
    Ok(builder(REGISTRAR_CONNECTIONS).connect_lazy_with(options))
}

/// For the one connection that listens, and for that alone: a lost one is not waited for.
pub(super) fn listener_pool(settings: &Postgres) -> Result<PgPool, StoreError> {
    let login = Login { user: settings.user.clone(), password_file: settings.password_file.clone() };
    Ok(builder(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(options(settings, &login)?))
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
    let unusable = |reason: String| StoreError::File { path: login.password_file.clone(), reason };
    let password = read_private(&login.password_file).map_err(|error| unusable(error.to_string()))?;
    let password = str::from_utf8(password.expose()).map_err(|_| unusable("is not UTF-8".to_owned()))?;
    let password = password.trim_end_matches(['\r', '\n']);
    Ok(PgConnectOptions::new_without_pgpass()
        .host(&settings.host)
        .port(settings.port)
        .database(&settings.database)
        .username(&login.user)
        .password(password)
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

/// Whether a connection that was not made may be made a little later: the server starts, stops or is full, or the way to it is
/// cut. Not when it refuses login or database, or when certificates do not fit.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        // A handshake that fails is invalid data; the others are about the CA's file.
        sqlx::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::PermissionDenied
        ),
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "53300" | "57014" | "55P03"))
        }
        _ => false,
    }
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

async fn attributes(options: &PgConnectOptions, login: &str) -> Result<Attributes, StoreError> {
    let failed = |cause: String| StoreError::Connect { login: login.to_owned(), cause };
    let query = "SELECT rolsuper, rolinherit, rolcreaterole FROM pg_roles WHERE rolname = current_user";
    let read = async { sqlx::query(query).fetch_one(&mut connect(options).await?).await };
    let row = tokio::time::timeout(ACQUIRE, read).await.map_err(|_| failed("it does not answer".to_owned()))?.map_err(
        |error| match passes(&error) {
            true => failed(error.to_string()),
            false => StoreError::Refused { login: login.to_owned(), cause: error.to_string() },
        },
    )?;
    let read = |column: &str| row.try_get(column).map_err(|_| StoreError::Column("rolsuper"));
    Ok(Attributes {
        superuser: read("rolsuper")?,
        inherits: read("rolinherit")?,
        creates_roles: read("rolcreaterole")?,
    })
}

/// The product's login must be able to do nothing until it takes a tenant's role.
fn check_product_login(attributes: Attributes, login: &str) -> Result<(), StoreError> {
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
