//! Statements: fixed text and bound values. No text that comes from outside can get into one.

use crate::Value;

/// A statement. Its text is put together from texts of the program only.
#[derive(Debug, Clone)]
pub struct Sql {
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
}

impl Sql {
    /// A statement with `$1`, `$2` ... for values and `{s}` right before each table name; `{now}` is
    /// the time in milliseconds by the clock of the database.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    /// Binds the next value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds more fixed text.
    pub fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds the placeholder for one more value, and the value.
    pub fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.values.len().to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bound_and_never_written_into_the_text() {
        let mut sql = Sql::new("SELECT a FROM {s}t WHERE b = $1").bind("x'; DROP TABLE t; --");
        sql.push(" AND c = ").push_bind(7_i64);
        assert_eq!(sql.text, "SELECT a FROM {s}t WHERE b = $1 AND c = $2");
        assert_eq!(sql.values.len(), 2);
    }
}
