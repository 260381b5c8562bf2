//! Base64url without padding (RFC 7515, section 2), in its one canonical form: a text that decodes also encodes back.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Encodes.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes; `None` for padding, white space, foreign characters or trailing bits that are not zero.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_decodes() {
        assert_eq!(decode("AQ"), Some(vec![1]));
        for bad in ["AR", "AQ=", "AQ==", " AQ", "A Q", "AQ\n", "A", "+/", "A.Q"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(encode([0xfb, 0xff]), "-_8");
    }
}
