//! What must not pass: confused algorithms and kinds, changed parts, members that change the meaning.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use keyrealm_base::Timestamp;
use keyrealm_crypto::sign::{ES256, RS256, SignatureScheme, Signer};
use keyrealm_crypto::{SecretBytes, SystemRandom, hmac_sha256};
use keyrealm_jose::jwe::{A256KW, DIR, Encrypted, JweKey, KEY_MANAGEMENT};
use keyrealm_jose::jwk::{JwkSet, PublicJwk, VerifyingKeys};
use keyrealm_jose::jws::{Unverified, sign};
use keyrealm_jose::jwt::{Expected, TokenError, validate};
use keyrealm_jose::{FormatError, b64};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

struct Issuer {
    scheme: &'static SignatureScheme,
    signer: Box<dyn Signer>,
    keys: VerifyingKeys,
    kid: String,
}

fn issuer(scheme: &'static SignatureScheme) -> Issuer {
    let signer = scheme.signer(&scheme.generate().unwrap()).unwrap();
    let jwk = PublicJwk::named_by_thumbprint(scheme, signer.public_key());
    let kid = jwk.kid.clone();
    let keys = VerifyingKeys::parse(&serde_json::to_vec(&JwkSet { keys: vec![jwk] }).unwrap()).unwrap();
    Issuer { scheme, signer, keys, kid }
}

impl Issuer {
    fn token(&self, header: Value, claims: Value) -> String {
        let mut members = json!({"typ": "at+jwt", "kid": self.kid}).as_object().unwrap().clone();
        members.extend(header.as_object().unwrap().clone());
        sign(members, claims.to_string().as_bytes(), self.scheme, self.signer.as_ref()).unwrap()
    }

    fn check(&self, token: &str) -> Result<(), TokenError> {
        let expected = Expected {
            typ: "at+jwt",
            algorithms: &["ES256"],
            issuer: "https://id.test",
            audience: "https://kms.test",
            now: Timestamp::from_seconds(1_000),
        };
        validate(Unverified::parse(token)?, &self.keys, &expected).map(drop)
    }
}

fn good() -> Value {
    json!({"iss": "https://id.test", "aud": "https://kms.test", "exp": 1001, "nbf": 1000, "sub": "s"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

#[test]
fn each_check_refuses_by_its_name() {
    let issuer = issuer(&ES256);
    let check = |claims| issuer.check(&issuer.token(json!({}), claims));
    assert_eq!(check(good()), Ok(()));
    assert_eq!(check(with("aud", json!(["x", "https://kms.test"]))), Ok(()));
    assert_eq!(check(with("iss", json!("https://id.test/"))), Err(TokenError::WrongIssuer));
    assert_eq!(check(with("aud", json!("https://kms.test.evil"))), Err(TokenError::WrongAudience));
    assert_eq!(check(with("aud", json!([]))), Err(TokenError::WrongAudience));
    assert_eq!(check(with("aud", json!(null))), Err(TokenError::Claim("aud")));
    assert_eq!(check(with("exp", json!(1000))), Err(TokenError::Expired), "no leeway");
    assert_eq!(check(with("exp", json!("1001"))), Err(TokenError::Claim("exp")));
    assert_eq!(check(with("nbf", json!(1001))), Err(TokenError::NotYetValid));
    assert_eq!(check(with("nbf", json!("now"))), Err(TokenError::Claim("nbf")));
    assert_eq!(check(with("iat", json!(99_999))), Ok(()), "iat is not compared");
    let typ = |typ| issuer.check(&issuer.token(json!({"typ": typ}), good()));
    assert_eq!(typ("application/AT+JWT"), Ok(()));
    assert!(matches!(typ("JWT"), Err(TokenError::WrongType(_))));
    assert!(matches!(typ("logout+jwt"), Err(TokenError::WrongType(_))));
}

/// `none`, HMAC with the public key as its secret, and another algorithm than the key's (TOK-08).
#[test]
fn the_key_decides_the_algorithm() {
    let es = issuer(&ES256);
    let rs = issuer(&RS256);
    let unsigned = |alg: &str| {
        let header = json!({"typ": "at+jwt", "kid": es.kid, "alg": alg}).to_string();
        format!("{}.{}", b64::encode(header), b64::encode(good().to_string()))
    };
    assert_eq!(es.check(&format!("{}.", unsigned("none"))), Err(TokenError::AlgorithmNotAllowed));
    let input = unsigned("HS256");
    let jwk = serde_json::to_vec(&PublicJwk::named_by_thumbprint(&ES256, es.signer.public_key())).unwrap();
    let mac = hmac_sha256(&SecretBytes::new(jwk), &[input.as_bytes()]);
    assert_eq!(es.check(&format!("{input}.{}", b64::encode(mac))), Err(TokenError::AlgorithmNotAllowed));
    assert_eq!(rs.check(&rs.token(json!({}), good())), Err(TokenError::AlgorithmNotAllowed));
    // An ES256 header over an RSA key's name.
    let confused = es.token(json!({"kid": rs.kid}), good());
    assert!(matches!(rs.check(&confused), Err(TokenError::Key(_))));
    assert!(matches!(es.check(&confused), Err(TokenError::Key(_))));
    // Somebody else's key under our name.
    let foreign = issuer(&ES256).token(json!({"kid": es.kid}), good());
    assert!(matches!(es.check(&foreign), Err(TokenError::Signature(_))));
}

#[test]
fn header_tricks_are_refused_or_without_effect() {
    let issuer = issuer(&ES256);
    let other = serde_json::to_value(PublicJwk::named_by_thumbprint(&ES256, issuer.signer.public_key())).unwrap();
    for member in [json!({"crit": ["exp"]}), json!({"b64": false}), json!({"zip": "DEF"}), json!({"p2c": 1})] {
        let refused = issuer.check(&issuer.token(member.clone(), good()));
        assert!(matches!(refused, Err(TokenError::Malformed(FormatError::Unsupported(_)))), "{member}");
    }
    // Keys and addresses in the header never choose the key.
    assert_eq!(issuer.check(&issuer.token(json!({"jwk": other, "jku": "https://evil.test"}), good())), Ok(()));
    let twice = b64::encode(format!(r#"{{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"{}"}}"#, issuer.kid));
    assert!(matches!(issuer.check(&format!("{twice}.e30.AA")), Err(TokenError::Malformed(FormatError::Json(..)))));
    let long = b64::encode(format!(r#"{{"alg":"ES256","x":"{}"}}"#, "x".repeat(9000)));
    assert!(matches!(issuer.check(&format!("{long}.e30.AA")), Err(TokenError::Malformed(FormatError::HeaderTooLong))));
    let deep = b64::encode(format!(r#"{{"alg":"ES256","x":{}{}}}"#, "[".repeat(2000), "]".repeat(2000)));
    assert!(matches!(issuer.check(&format!("{deep}.e30.AA")), Err(TokenError::Malformed(_))));
}

#[test]
fn the_form_is_canonical() {
    let issuer = issuer(&ES256);
    let token = issuer.token(json!({}), good());
    for bad in [
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}."),
        format!("{token}.AA"),
        token.replacen('.', "", 1),
        String::new(),
        "..".to_owned(),
    ] {
        assert!(matches!(issuer.check(&bad), Err(TokenError::Malformed(_) | TokenError::Signature(_))), "{bad}");
    }
}

#[test]
fn published_sets_are_read_with_care() {
    let issuer = issuer(&ES256);
    let jwk = serde_json::to_value(PublicJwk::named_by_thumbprint(&ES256, issuer.signer.public_key())).unwrap();
    let parse = |keys: Vec<Value>| VerifyingKeys::parse(json!({"keys": keys}).to_string().as_bytes());
    let changed = |name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    assert_eq!(parse(vec![jwk.clone()]).map(|keys| keys.len()), Ok(1));
    assert_eq!(parse(vec![changed("key_ops", json!(["verify"]))]).map(|keys| keys.len()), Ok(1));
    assert!(parse(vec![jwk.clone(), jwk.clone()]).is_err(), "one name twice");
    assert!(parse(vec![jwk.clone(); 65]).is_err(), "too many");
    for unusable in [
        changed("d", json!("AA")),
        changed("use", json!("enc")),
        changed("use", json!(7)),
        changed("key_ops", json!(["encrypt", "wrapKey"])),
        changed("key_ops", json!([])),
        changed("key_ops", json!("verify")),
        changed("kty", json!("oct")),
        changed("alg", json!("RS256")),
        changed("crv", json!("P-384")),
        changed("x", json!("AA")),
        json!({"kty": "oct", "k": "AA", "kid": "x"}),
        json!(7),
    ] {
        assert_eq!(parse(vec![unusable.clone()]).map(|keys| keys.is_empty()), Ok(true), "{unusable}");
    }
    assert!(VerifyingKeys::parse(b"[]").is_err() && VerifyingKeys::parse(b"{}").is_err());
}

#[test]
fn every_bit_of_a_jwe_counts() {
    for kind in KEY_MANAGEMENT {
        let key = JweKey::new(kind, JweKey::generate(&SystemRandom)).unwrap();
        let text = key.encrypt("v", Some(b"context"), b"plaintext", &SystemRandom).unwrap();
        let open = |text: &str| Encrypted::parse(text).ok().and_then(|m| key.decrypt(&m, Some(b"context")).ok());
        assert_eq!(open(&text).unwrap().expose(), b"plaintext");
        for (at, part) in text.split('.').enumerate() {
            let bytes = b64::decode(part).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
                parts[at] = b64::encode(changed);
                assert!(open(&parts.join(".")).is_none(), "{} part {at} bit {bit}", kind.name);
            }
        }
    }
}

#[test]
fn the_context_must_be_given_again() {
    let key = JweKey::new(&A256KW, JweKey::generate(&SystemRandom)).unwrap();
    let with = key.encrypt("v", Some(b"a"), b"p", &SystemRandom).unwrap();
    let without = key.encrypt("v", None, b"p", &SystemRandom).unwrap();
    let opens = |text: &str, context| key.decrypt(&Encrypted::parse(text).unwrap(), context).is_ok();
    assert!(opens(&with, Some(b"a")) && opens(&without, None));
    for (text, context) in [(&with, None), (&with, Some(&b"b"[..])), (&with, Some(b"")), (&without, Some(b"a"))] {
        assert!(!opens(text, context));
    }
}

#[test]
fn keys_of_one_algorithm_do_not_open_messages_of_another() {
    let bytes = JweKey::generate(&SystemRandom);
    let direct = JweKey::new(&DIR, SecretBytes::copy_of(bytes.expose())).unwrap();
    let wrap = JweKey::new(&A256KW, bytes).unwrap();
    let message = direct.encrypt("v", None, b"p", &SystemRandom).unwrap();
    assert!(wrap.decrypt(&Encrypted::parse(&message).unwrap(), None).is_err());
    assert!(JweKey::new(&DIR, SecretBytes::new(vec![0; 16])).is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*", bytes: Vec<u8>) {
        let _ = Unverified::parse(&text);
        let _ = Encrypted::parse(&text);
        let _ = VerifyingKeys::parse(&bytes);
        let dotted = format!("{}.{}.{}", b64::encode(&bytes), text, b64::encode(&bytes));
        let _ = Unverified::parse(&dotted);
    }

    #[test]
    fn what_is_encrypted_decrypts(plain: Vec<u8>, context: Option<Vec<u8>>) {
        let key = JweKey::new(&DIR, JweKey::generate(&SystemRandom)).unwrap();
        let text = key.encrypt("v", context.as_deref(), &plain, &SystemRandom).unwrap();
        let message = Encrypted::parse(&text).unwrap();
        let opened = key.decrypt(&message, context.as_deref()).unwrap();
        prop_assert_eq!(opened.expose(), plain);
    }

    #[test]
    fn what_is_signed_verifies(payload: Vec<u8>) {
        let signer = ES256.signer(&ES256.generate().unwrap()).unwrap();
        let token = sign(Map::new(), &payload, &ES256, signer.as_ref()).unwrap();
        let verifier = ES256.verifier(signer.public_key()).unwrap();
        let verified = Unverified::parse(&token).unwrap().verify("ES256", verifier.as_ref()).unwrap();
        prop_assert_eq!(verified.payload, payload);
    }
}
