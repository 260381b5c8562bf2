//! Completing statements, binding values and reading rows.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgRow, PgTypeInfo};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Encode, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _,
};

use crate::{Row, Space, Sql, Value};

/// The milliseconds of the server's clock, which all processes share.
const NOW: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";

/// NULL of whatever type the column has: the server infers it where no type is given.
struct Null;

impl Type<Postgres> for Null {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Null {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

pub(super) async fn execute(connection: &mut PgConnection, space: Space, sql: Sql) -> Result<u64, sqlx::Error> {
    let (text, arguments) = render(space, sql)?;
    Ok(sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await?.rows_affected())
}

pub(super) async fn fetch(connection: &mut PgConnection, space: Space, sql: Sql) -> Result<Vec<Row>, sqlx::Error> {
    let (text, arguments) = render(space, sql)?;
    let rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// The one place where a statement's text is completed: tables get their schema, bytes are BYTEA.
pub(super) fn complete(space: Space, text: &str) -> String {
    text.replace("{s}", &format!("\"{space}\".")).replace("{blob}", "BYTEA").replace("{now}", NOW)
}

fn render(space: Space, sql: Sql) -> Result<(String, PgArguments), sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in sql.values {
        match value {
            Value::Null => arguments.add(Null),
            Value::Int(int) => arguments.add(int),
            Value::Text(text) => arguments.add(text),
            Value::Blob(bytes) => arguments.add(bytes),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok((complete(space, &sql.text), arguments))
}

fn read(row: &PgRow) -> Result<Row, sqlx::Error> {
    let column = |at: usize, column: &<Postgres as sqlx::Database>::Column| {
        let raw = row.try_get_raw(at)?;
        let value = match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INT8" => Value::Int(row.try_get(at)?),
            "INT4" => Value::Int(row.try_get::<i32, _>(at)?.into()),
            "BYTEA" => Value::Blob(row.try_get(at)?),
            _ => Value::Text(row.try_get(at)?),
        };
        Ok((column.name().to_owned(), value))
    };
    row.columns().iter().enumerate().map(|(at, c)| column(at, c)).collect::<Result<_, _>>().map(Row)
}
