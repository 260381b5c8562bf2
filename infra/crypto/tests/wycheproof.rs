//! Project Wycheproof's vectors, as far as the interface here reaches: known attacks and edge cases of each algorithm.
//!
//! PBKDF2 is not among them: its sets have salts of other lengths than the one of the stored form.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use keyrealm_crypto::aead::{AeadKey, AesGcm, NONCE_LEN, TAG_LEN};
use keyrealm_crypto::key_wrap::Aes256Kw;
use keyrealm_crypto::sign::{EDDSA, ES256, PublicKey, RS256, SignatureScheme};
use keyrealm_crypto::{SecretBytes, hkdf_sha256};
use wycheproof::TestResult::{Acceptable, Invalid, Valid};
use wycheproof::{aead, ecdsa, eddsa, hkdf, keywrap, rsa_pkcs1_verify};

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::copy_of(bytes)
}

#[test]
fn aes_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut tried = 0;
    for group in set.test_groups.iter().filter(|group| (group.nonce_size, group.tag_size) == (96, 128)) {
        let kind = match group.key_size {
            128 => AesGcm::A128,
            192 => AesGcm::A192,
            256 => AesGcm::A256,
            other => panic!("{other} bits"),
        };
        for test in &group.tests {
            let key = AeadKey::new(kind, &secret(&test.key)).unwrap();
            let nonce: [u8; NONCE_LEN] = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), &test.tag].concat();
            let opened = key.open(nonce, &test.aad, &sealed);
            if test.result == Valid {
                assert_eq!(opened.unwrap().expose(), test.pt.as_slice(), "{test:?}");
                assert_eq!(key.seal(nonce, &test.aad, &test.pt).unwrap(), sealed, "{test:?}");
            } else {
                assert!(opened.is_err(), "{test:?}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 190 && TAG_LEN == 16, "{tried}");
}

#[test]
fn aes_key_wrap() {
    let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrap).unwrap();
    let mut tried = 0;
    for test in set.test_groups.iter().filter(|group| group.key_size == 256).flat_map(|group| &group.tests) {
        let kek = Aes256Kw::new(secret(&test.key)).unwrap();
        let opened = kek.unwrap(&test.ct);
        match test.result {
            Valid => {
                assert_eq!(opened.unwrap().expose(), test.pt.as_slice(), "{test:?}");
                assert_eq!(kek.wrap(&secret(&test.pt)).unwrap(), *test.ct, "{test:?}");
            }
            Invalid => assert!(opened.is_err(), "{test:?}"),
            // A key of eight bytes: NIST SP 800-38F allows it, RFC 3394 does not.
            Acceptable => assert!(opened.is_err(), "{test:?}"),
        }
        tried += 1;
    }
    assert!(tried >= 60, "{tried}");
}

/// The verdict on a signature must be the one of the set.
fn verify(scheme: &SignatureScheme, key: &PublicKey, message: &[u8], signature: &[u8], valid: bool, test: &str) {
    let verified = scheme.verifier(key).unwrap().verify(message, signature);
    assert_eq!(verified.is_ok(), valid, "{test}");
}

#[test]
fn ecdsa_p256_in_fixed_width() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    for group in &set.test_groups {
        let point = group.key.key.as_slice();
        let key = PublicKey::Ec { curve: "P-256", x: point[1..33].to_vec(), y: point[33..].to_vec() };
        for test in &group.tests {
            verify(&ES256, &key, &test.msg, &test.sig, test.result == Valid, &format!("{test:?}"));
        }
    }
    assert!(set.number_of_tests >= 260, "{}", set.number_of_tests);
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in &set.test_groups {
        let key = PublicKey::Okp { curve: "Ed25519", x: group.key.pk.to_vec() };
        for test in &group.tests {
            verify(&EDDSA, &key, &test.msg, &test.sig, test.result == Valid, &format!("{test:?}"));
        }
    }
    assert!(set.number_of_tests >= 150, "{}", set.number_of_tests);
}

#[test]
fn rsa_pkcs1_with_sha256() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256};
    for name in [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256] {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let unpadded = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
            let key = PublicKey::Rsa { n: unpadded(&group.key.n), e: unpadded(&group.key.e) };
            for test in &group.tests {
                // "Acceptable" leaves the NULL of the hash's identifier out: RFC 8017, section 9.2, has it.
                verify(&RS256, &key, &test.msg, &test.sig, test.result == Valid, &format!("{test:?}"));
            }
        }
        assert!(set.number_of_tests >= 250, "{name:?}");
    }
}

#[test]
fn hkdf_with_sha256() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let made = hkdf_sha256(&secret(&test.ikm), &test.salt, &[&test.info], test.size);
        match test.result {
            Valid => assert_eq!(made.unwrap().expose(), test.okm.as_slice(), "{test:?}"),
            Invalid | Acceptable => assert!(made.is_err(), "{test:?}"),
        }
    }
    assert!(set.number_of_tests >= 80, "{}", set.number_of_tests);
}
