//! PKCE with S256 (RFC 7636).

use keyrealm_crypto::{ct_eq, sha256};
use keyrealm_jose::b64;

/// Whether a challenge can be one of S256: 43 characters of base64url.
pub(crate) fn is_challenge(text: &str) -> bool {
    text.len() == 43 && b64::decode(text).is_some_and(|bytes| bytes.len() == 32)
}

/// Whether the verifier is that of the challenge (sections 4.1 and 4.6).
pub(crate) fn verify(challenge: &str, verifier: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(legal)
        && ct_eq(b64::encode(sha256(verifier.as_bytes())).as_bytes(), challenge.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    #[test]
    fn appendix_b() {
        let (verifier, challenge) =
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(is_challenge(challenge) && verify(challenge, verifier));
        assert!(!verify(challenge, &verifier[1..]) && !verify(challenge, challenge) && !verify(verifier, verifier));
        assert!(!verify(challenge, &"a".repeat(129)) && !is_challenge("short") && !is_challenge(&"=".repeat(43)));
    }
}
