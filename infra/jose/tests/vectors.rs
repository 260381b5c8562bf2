//! The RFCs' own examples for the algorithms that exist here.
//!
//! RFC 7515 A.1 (HS256), A.4 (ES512), RFC 7516 A.1-A.3 and RFC 7520 section 5 use algorithms without a row yet; key wrap
//! and AES-GCM themselves are held against RFC 3394 and the GCM paper in `crypto`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use keyrealm_crypto::sign::PublicKey;
use keyrealm_jose::b64;
use keyrealm_jose::jwk::{VerifyingKeys, thumbprint};
use keyrealm_jose::jws::Unverified;

const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

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

#[test]
fn rfc7515_a2_rs256() {
    let jwk = r#"{"kty":"RSA","kid":"k","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    check(jwk, "RS256", &format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{signature}"), &b64::decode(JOE).unwrap());
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
}

#[test]
fn rfc7638_3_1_and_rfc8037_a3_thumbprints() {
    let n = b64::decode("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw").unwrap();
    let rsa = PublicKey::Rsa { n, e: vec![1, 0, 1] };
    assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let x = b64::decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    let okp = PublicKey::Okp { curve: "Ed25519", x };
    assert_eq!(thumbprint(&okp), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}
