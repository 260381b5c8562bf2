//! Values that go into statements and come out of rows: the few types that both databases store alike.

use keyrealm_base::{DeploymentId, InstanceId, KeyId, ObjectId, TenantId, Timestamp, VersionId};

use crate::StoreError;

/// A value of a column. Ids are text, instants are milliseconds since the epoch, booleans are 0 and 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(String),
    /// BLOB or BYTEA.
    Blob(Vec<u8>),
}

macro_rules! into_value {
    ($($type:ty, $value:ident => $make:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $make
            }
        })*
    };
}

into_value! {
    i64, value => Self::Int(value);
    i32, value => Self::Int(value.into());
    u32, value => Self::Int(value.into());
    bool, value => Self::Int(value.into());
    &str, value => Self::Text(value.to_owned());
    String, value => Self::Text(value);
    &String, value => Self::Text(value.clone());
    Vec<u8>, value => Self::Blob(value);
    &[u8], value => Self::Blob(value.to_vec());
    Timestamp, value => Self::Int(value.millis());
    TenantId, value => Self::Text(value.to_string());
    KeyId, value => Self::Text(value.to_string());
    VersionId, value => Self::Text(value.to_string());
    ObjectId, value => Self::Text(value.to_string());
    InstanceId, value => Self::Text(value.to_string());
    DeploymentId, value => Self::Text(value.to_string());
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Blob(value.to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// The value, if it has this type.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_text {
    ($($type:ty),*) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Text(text) => text.parse().ok(),
                    _ => None,
                }
            }
        })*
    };
}

from_text!(String, TenantId, KeyId, VersionId, ObjectId, InstanceId, DeploymentId);

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).and_then(|int| int.try_into().ok())
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromValue for Timestamp {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(Self::from_millis)
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// A row of an answer.
#[derive(Debug, Clone)]
pub struct Row(pub(crate) Vec<(String, Value)>);

impl Row {
    /// The column of this name.
    ///
    /// # Errors
    /// When there is none, or it has another type.
    pub fn get<T: FromValue>(&self, column: &'static str) -> Result<T, StoreError> {
        self.0
            .iter()
            .find(|(name, _)| name == column)
            .and_then(|(_, value)| T::from_value(value))
            .ok_or(StoreError::Column(column))
    }
}
