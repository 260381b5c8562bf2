//! The RFCs' own examples for the algorithms that exist here.
//!
//! RFC 7515 A.1 (HS256), A.4 (ES512), RFC 7516 A.1-A.3 and RFC 7520 section 5 use algorithms without a row yet; JWE is
//! held against messages of other libraries, key wrap and AES-GCM themselves against RFC 3394, the GCM paper and
//! Wycheproof in `crypto`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use keyrealm_crypto::SecretBytes;
use keyrealm_crypto::sign::{EDDSA, PublicKey, RS256, SignatureScheme};
use keyrealm_jose::jwe::{A256KW, DIR, Encrypted, JweKey};
use keyrealm_jose::jwk::{KeyChoiceError, VerifyingKeys, thumbprint};
use keyrealm_jose::jws::{Unverified, sign};
use keyrealm_jose::{FormatError, b64};
use serde_json::{Value, json};

const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// The modulus of RFC 7638, section 3.1, and RFC 7517, A.1.
const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn verifies(jwk: &str, algorithm: &str, token: &str) -> Result<Vec<u8>, String> {
    let keys = VerifyingKeys::parse(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes()).map_err(|e| e.to_string())?;
    let verifier = keys.get("k", algorithm).map_err(|e| e.to_string())?;
    let token = Unverified::parse(token).map_err(|e| e.to_string())?;
    token.verify(algorithm, verifier).map(|verified| verified.payload).map_err(|e| e.to_string())
}

/// Each vector verifies, and none does with one bit of any part changed.
fn check(jwk: &str, algorithm: &str, token: &str, payload: &[u8]) {
    assert_eq!(verifies(jwk, algorithm, token).unwrap(), payload);
    for (at, part) in token.split('.').enumerate() {
        let bytes = b64::decode(part).unwrap();
        for bit in (0..bytes.len() * 8).step_by(5) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
            parts[at] = b64::encode(changed);
            assert!(verifies(jwk, algorithm, &parts.join(".")).is_err(), "part {at} bit {bit}");
        }
    }
}

/// DER of one value (X.690, section 8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match length {
        [0, short @ 0..=127] => vec![short],
        [0, long] => vec![0x81, long],
        [high, low] => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), content].concat()
}

/// A private RSA JWK as PKCS#8 (RFC 8017, appendix A.1.2).
fn rsa_pkcs8(jwk: &str) -> SecretBytes {
    let jwk: Value = serde_json::from_str(jwk).unwrap();
    let integer = |name: &str| {
        let bytes = b64::decode(jwk[name].as_str().unwrap()).unwrap();
        der(2, &[&[0][..usize::from(bytes[0] >> 7)], &bytes].concat())
    };
    let members: Vec<u8> = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].into_iter().flat_map(integer).collect();
    let key = der(0x30, &[der(2, &[0]), members].concat());
    let rsa_encryption = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    SecretBytes::new(der(0x30, &[der(2, &[0]), rsa_encryption.to_vec(), der(4, &key)].concat()))
}

/// Where signatures are deterministic, signing makes the very token of the RFC.
fn signs(scheme: &SignatureScheme, pkcs8: &SecretBytes, header: Value, payload: &[u8], token: &str) {
    let Value::Object(members) = header else { panic!("a header is an object") };
    let signer = scheme.signer(pkcs8).unwrap();
    assert_eq!(sign(members, payload, scheme, signer.as_ref()).unwrap(), token);
}

#[test]
fn rfc7515_a2_rs256() {
    let jwk = r#"{"kty":"RSA","kid":"k","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{signature}");
    check(jwk, "RS256", &token, &b64::decode(JOE).unwrap());
    let key = rsa_pkcs8(include_str!("vectors/rfc7515-a2.json"));
    signs(&RS256, &key, json!({}), &b64::decode(JOE).unwrap(), &token);
}

#[test]
fn rfc7515_a3_es256() {
    let jwk = r#"{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    check(jwk, "ES256", &format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.{signature}"), &b64::decode(JOE).unwrap());
}

#[test]
fn rfc8037_a4_ed25519() {
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    check(jwk, "EdDSA", token, b"Example of Ed25519 signing");
    // RFC 8410, section 7: PKCS#8 is this prefix and the 32 bytes of `d` (RFC 8037, A.1).
    let d = b64::decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = SecretBytes::new([prefix.as_slice(), &d].concat());
    signs(&EDDSA, &key, json!({}), b"Example of Ed25519 signing", token);
}

#[test]
fn rfc7520_4_1_rs256() {
    let key = include_str!("vectors/rfc7520-3.4.json");
    let payload = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
    let signature = "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg";
    let token =
        format!("eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{payload}.{signature}");
    let payload = b64::decode(payload).unwrap();
    let private: Value = serde_json::from_str(key).unwrap();
    let public = json!({"kty": "RSA", "kid": "k", "use": "sig", "n": private["n"], "e": private["e"]}).to_string();
    check(&public, "RS256", &token, &payload);
    signs(&RS256, &rsa_pkcs8(key), json!({"kid": "bilbo.baggins@hobbiton.example"}), &payload, &token);
}

/// RFC 7517, A.1: a set with a key for encryption, which is passed over, and one for signatures.
#[test]
fn rfc7517_a1_set() {
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "use": "enc", "kid": "1"});
    let rsa = json!({"kty": "RSA", "n": RSA_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let keys = VerifyingKeys::parse(json!({"keys": [ec, rsa]}).to_string().as_bytes()).unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys.get("2011-04-29", "RS256").is_ok());
    assert_eq!(keys.get("1", "ES256").err(), Some(KeyChoiceError::UnknownKey));
}

/// RFC 7515, A.5: an unsecured token verifies under no key, whatever algorithm the caller has in mind.
#[test]
fn rfc7515_a5_none_is_refused() {
    let jwk = json!({"kty": "RSA", "n": RSA_N, "e": "AQAB", "kid": "k"}).to_string();
    let token = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    assert_eq!(Unverified::parse(&token).unwrap().algorithm(), "none");
    for algorithm in ["none", "RS256"] {
        assert!(verifies(&jwk, algorithm, &token).is_err(), "{algorithm}");
    }
}

/// RFC 7515, appendix E: a critical member that nobody knows.
#[test]
fn rfc7515_appendix_e_crit_is_refused() {
    let header = "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0";
    let refused = Unverified::parse(&format!("{header}.RkFJTA.")).err();
    assert_eq!(refused, Some(FormatError::Unsupported("crit")));
}

/// Messages of joserfc 1.8.0 and jwcrypto 1.6.1 (which writes its header with spaces) for the key 00 01 .. 1f.
#[test]
fn messages_of_other_libraries_open() {
    let plain = b"The true sign of intelligence is not knowledge but imagination.";
    for (kind, text) in [
        (
            &DIR,
            "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoidiJ9..qPUPwkoTYjHHON2n.1tq7k-c9pR_VQ2FUSMwtRvlu0fI7XPSNUd_fomyDwhVnunp4nHKZ_uOkxQEyZP7P4fd4deo2No0SNDHnoQPO.Y8MByTo77eik7kAAPhuZUw",
        ),
        (
            &A256KW,
            "eyJhbGciOiJBMjU2S1ciLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoidiJ9.tSfLYF0ZIgVW872NtfAmOgo8vf2-bCptRje7_EqpdvsSgonMroaY7w.AUCIP4AxttcBCYZL.JlHEsVFoB_NCvgy0wuWJNgo_uF47IMU1jE6AX3hARLVAOz6E-9kmf8AxfdO-R6AUeLsTkAQ9Pd3Ts_mKJc2I.2dK_dC5ya0zEGykhD95WRA",
        ),
        (
            &DIR,
            "eyJhbGciOiAiZGlyIiwgImVuYyI6ICJBMjU2R0NNIiwgImtpZCI6ICJ2In0..sTmMjNEBCiqTStmZ.HSTDiUs8K5lIA_GdRQDUr27JtADmdO-NNDuC7ObE2hn_-Jd8WHNT0S1pxe6wBCXRqouKIAL6zmiPze3ZTo-S.cbjNtFDCM913YCE_AWE_ew",
        ),
        (
            &A256KW,
            "eyJhbGciOiAiQTI1NktXIiwgImVuYyI6ICJBMjU2R0NNIiwgImtpZCI6ICJ2In0.uXpET-okd-EAfJ68_zIc2_MFnn187DxQda2CcfDu0Tnyrv1tBkVYXw.xKcrXe_MNepyD5Iu.6cKiXhPItr47-LeetqDys02iy_nttFWi7Ecf2U7KXj0MaGykGazqHZEaoQ-4zs-2R-WmfVn4YQoXyJQXa5zS.rzHJjifAOlaB5HccPFN-xQ",
        ),
    ] {
        let key = JweKey::new(kind, SecretBytes::new((0..32).collect())).unwrap();
        let message = Encrypted::parse(text).unwrap();
        assert_eq!(key.decrypt(&message, None).unwrap().expose(), plain, "{text}");
        let other = JweKey::new(kind, SecretBytes::new((1..33).collect())).unwrap();
        assert!(other.decrypt(&message, None).is_err());
    }
}

#[test]
fn rfc7638_3_1_rfc8037_a3_and_rfc9449_6_1_thumbprints() {
    let n = b64::decode(RSA_N).unwrap();
    let rsa = PublicKey::Rsa { n, e: vec![1, 0, 1] };
    assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let x = b64::decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    let okp = PublicKey::Okp { curve: "Ed25519", x };
    assert_eq!(thumbprint(&okp), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let x = b64::decode("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs").unwrap();
    let y = b64::decode("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA").unwrap();
    let ec = PublicKey::Ec { curve: "P-256", x, y };
    assert_eq!(thumbprint(&ec), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}
