use super::*;
use crate::tests::hex;

#[test]
fn every_scheme_signs_verifies_and_refuses_one_changed_bit() {
    for scheme in SCHEMES {
        let signer = scheme.signer(&scheme.generate().unwrap()).unwrap();
        let verifier = scheme.verifier(signer.public_key()).unwrap();
        let signature = signer.sign(b"message").unwrap();
        verifier.verify(b"message", &signature).unwrap();
        assert!(verifier.verify(b"massage", &signature).is_err());
        for bit in (0..signature.len() * 8).step_by(7) {
            let mut bad = signature.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(verifier.verify(b"message", &bad).is_err(), "{} bit {bit}", scheme.name);
        }
        assert!(verifier.verify(b"message", &signature[..signature.len() - 1]).is_err());
        assert!(verifier.verify(b"message", &[]).is_err());
    }
}

/// A key of one algorithm never parses as one of another.
#[test]
fn keys_are_typed() {
    for made in SCHEMES {
        let key = made.generate().unwrap();
        let public = made.signer(&key).unwrap().public_key().clone();
        for other in SCHEMES.iter().filter(|other| other.name != made.name) {
            assert!(other.signer(&key).is_err() && other.verifier(&public).is_err(), "{} as {}", made.name, other.name);
        }
        assert!(made.signer(&SecretBytes::copy_of(b"rubbish")).is_err());
    }
    assert!(scheme("none").is_none() && scheme("HS256").is_none());
}

#[test]
fn a_point_off_the_curve_a_der_signature_and_a_short_modulus_are_refused() {
    let off = PublicKey::Ec { curve: "P-256", x: vec![1; 32], y: vec![2; 32] };
    assert!(ES256.verifier(&off).is_err());
    let short = PublicKey::Rsa { n: vec![0xff; 128], e: vec![1, 0, 1] };
    assert!(RS256.verifier(&short).is_err());
    let signer = ES256.signer(&ES256.generate().unwrap()).unwrap();
    let verifier = ES256.verifier(signer.public_key()).unwrap();
    for degenerate in [vec![0; 64], vec![0xff; 64]] {
        assert!(verifier.verify(b"m", &degenerate).is_err());
    }
    let signature = signer.sign(b"m").unwrap();
    let der = [&[0x30, 68, 2, 32][..], &signature[..32], &[2, 32], &signature[32..]].concat();
    assert!(verifier.verify(b"m", &der).is_err());
}

/// RFC 8032, section 7.1, test 2.
#[test]
fn rfc8032_test_2() {
    let x = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let verifier = EDDSA.verifier(&PublicKey::Okp { curve: "Ed25519", x }).unwrap();
    let signature = hex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    verifier.verify(&[0x72], &signature).unwrap();
}

/// A public key is its 32 bytes and nothing that holds them (RFC 8410, section 4).
#[test]
fn an_ed25519_key_in_der_is_refused() {
    let x = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let parse = |x: Vec<u8>| EDDSA.verifier(&PublicKey::Okp { curve: "Ed25519", x }).map(drop);
    assert_eq!(parse(x.clone()), Ok(()));
    let der = [hex("302a300506032b6570032100"), x.clone()].concat();
    for bad in [der, x[..31].to_vec(), [x.as_slice(), &[0]].concat(), Vec::new()] {
        assert!(parse(bad).is_err());
    }
}
