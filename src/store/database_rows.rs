//! Values that go into statements and come out of rows, the same for both databases.

use sqlx::{ColumnIndex, Database, Decode, Encode, IntoArguments, Row, Type, TypeInfo, ValueRef};

use crate::DatabaseError;

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
    /// An integer that is not there.
    Nothing,
}

/// The values of a row, taken one after the other. A value of another kind than expected is damage.
pub(crate) struct Columns(std::vec::IntoIter<Value>);

impl Columns {
    pub(crate) fn integer(&mut self) -> Result<i64, DatabaseError> {
        self.integer_if_any()?.ok_or_else(missing)
    }

    pub(crate) fn integer_if_any(&mut self) -> Result<Option<i64>, DatabaseError> {
        match self.0.next() {
            Some(Value::Integer(value)) => Ok(Some(value)),
            Some(Value::Nothing) => Ok(None),
            _ => Err(missing()),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, DatabaseError> {
        self.bytes_if_any()?.ok_or_else(missing)
    }

    pub(crate) fn bytes_if_any(&mut self) -> Result<Option<Vec<u8>>, DatabaseError> {
        match self.0.next() {
            Some(Value::Bytes(value)) => Ok(value),
            Some(Value::Nothing) => Ok(None),
            _ => Err(missing()),
        }
    }

    pub(crate) fn text_if_any(&mut self) -> Result<Option<String>, DatabaseError> {
        match self.0.next() {
            Some(Value::Text(value)) => Ok(value),
            Some(Value::Nothing) => Ok(None),
            _ => Err(missing()),
        }
    }
}

impl From<Vec<Value>> for Columns {
    fn from(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }
}

/// Runs one statement on a connection, all of it even where it is several, and returns the rows.
pub(crate) async fn rows<'c, DB, E>(
    connection: E,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Vec<Columns>, sqlx::Error>
where
    DB: Database,
    E: sqlx::Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'a> i64: Encode<'a, DB> + Decode<'a, DB> + Type<DB>,
    for<'a> Option<i64>: Encode<'a, DB>,
    for<'a> Vec<u8>: Encode<'a, DB> + Decode<'a, DB> + Type<DB>,
    for<'a> Option<Vec<u8>>: Encode<'a, DB>,
    for<'a> String: Encode<'a, DB> + Decode<'a, DB> + Type<DB>,
    for<'a> Option<String>: Encode<'a, DB>,
    usize: ColumnIndex<DB::Row>,
{
    let mut query = sqlx::query::<DB>(sql);
    for value in values {
        query = match value {
            Value::Integer(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Nothing => query.bind(None::<i64>),
        };
    }
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(columns).collect()
}

fn columns<R: Row>(row: &R) -> Result<Columns, sqlx::Error>
where
    for<'a> i64: Decode<'a, R::Database> + Type<R::Database>,
    for<'a> Vec<u8>: Decode<'a, R::Database> + Type<R::Database>,
    for<'a> String: Decode<'a, R::Database> + Type<R::Database>,
    usize: ColumnIndex<R>,
{
    let value = |index: usize| {
        let raw = row.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Value::Nothing);
        }
        match raw.type_info().name() {
            "INTEGER" | "INT8" => row.try_get(index).map(Value::Integer),
            "BLOB" | "BYTEA" => row.try_get(index).map(|bytes| Value::Bytes(Some(bytes))),
            "TEXT" => row.try_get(index).map(|text| Value::Text(Some(text))),
            _ => Err(sqlx::Error::Decode("a column has another type".into())),
        }
    };
    let values: Result<Vec<_>, _> = (0..row.len()).map(value).collect();
    Ok(values?.into())
}

fn missing() -> DatabaseError {
    DatabaseError::damaged("a column is empty or of another type")
}
