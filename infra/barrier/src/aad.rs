//! Authenticated data: fields with their lengths before them, so that no two lists of fields give the same bytes.

/// Collects fields.
#[derive(Default)]
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    /// Adds one field.
    pub(crate) fn push(mut self, field: &[u8]) -> Self {
        // A field over 4 GiB would not fit into memory beside its copy.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let join = |fields: &[&[u8]]| fields.iter().fold(Fields::default(), |all, field| all.push(field)).finish();
        assert_ne!(join(&[b"ab", b"c"]), join(&[b"a", b"bc"]));
        assert_ne!(join(&[b"a", b""]), join(&[b"a"]));
    }
}
