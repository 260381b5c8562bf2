//! The one comparison for secrets.

use subtle::ConstantTimeEq;

/// Whether two byte strings are equal, in a time that depends on their lengths only.
#[must_use]
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::ct_eq;

    #[test]
    fn compares_content_and_length() {
        assert!(ct_eq(b"same", b"same") && ct_eq(b"", b""));
        assert!(!ct_eq(b"same", b"samf") && !ct_eq(b"same", b"sam") && !ct_eq(b"", b"x"));
    }
}
