//! Passwords and secrets from Secrets of the user's own: what each text is good for. Pure.

use std::time::Duration;

use keyrealm_base::Timestamp;
use keyrealm_crypto::password::PasswordHash;
use keyrealm_crypto::{SecretBytes, sha256_hex};
use keyrealm_registry::Overlap;

use super::memory::GivenSecret;

/// A secret that a person made up is guessed; this many characters are not.
const SHORTEST: usize = 32;
/// As the servers take them.
const LONGEST: usize = 1024;
/// How often a Secret is read again although nothing tells of a change.
const AGAIN: Duration = Duration::from_mins(10);
/// How often one that could not be used is.
const SOON: Duration = Duration::from_secs(10);

/// What a password's text is.
pub(super) enum Given {
    /// A hash, as it stands.
    Hash(String),
    /// A password.
    Password(SecretBytes),
}

/// Why a text cannot be used, and how to mend it. Never the text.
pub(super) type Refusal = (&'static str, String);

/// A line break at the end is the editor's, not the secret's.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// What a user's entry gives; `place` names Secret and key.
pub(super) fn password(bytes: &[u8], place: &str) -> Result<Given, Refusal> {
    let bytes = trimmed(bytes);
    let refuse = |message: String| Err(("InvalidSpec", message));
    let Ok(text) = std::str::from_utf8(bytes) else {
        return refuse(format!("{place} is not UTF-8: put the password or its hash there as text"));
    };
    if text.starts_with("$pbkdf2-sha256$") {
        return match text.parse::<PasswordHash>() {
            Ok(hash) => Ok(Given::Hash(hash.to_string())),
            Err(error) => refuse(format!("{place}: {error}")),
        };
    }
    match text.len() {
        0 => refuse(format!("{place} is empty: put the password or its hash there")),
        1..=LONGEST => Ok(Given::Password(SecretBytes::copy_of(bytes))),
        _ => refuse(format!("{place} is longer than {LONGEST} bytes: no password is")),
    }
}

/// The SHA-256 of a client's own secret.
pub(super) fn client_secret(bytes: &[u8], place: &str) -> Result<String, Refusal> {
    let bytes = trimmed(bytes);
    let characters = std::str::from_utf8(bytes).map(|text| text.chars().count()).unwrap_or_default();
    if characters < SHORTEST || bytes.len() > LONGEST {
        let message = format!(
            "{place} has {characters} characters: a client's secret has {SHORTEST} to {LONGEST}, drawn at random (openssl \
             rand -base64 33); or leave secretRef out and one is made"
        );
        return Err(("InvalidSpec", message));
    }
    Ok(sha256_hex(bytes))
}

/// The former secret and its end, after `sha256` was found. `before` is what this process knows, `declared` what the rows say,
/// `noted` the former one and its end as the registry has them: after a start that is all that is known.
pub(super) fn former(
    sha256: &str,
    before: Option<&GivenSecret>,
    (declared, noted): (&[String], Option<&Overlap>),
    overlap: Duration,
    now: Timestamp,
) -> Option<(String, Timestamp)> {
    let until = now.plus(overlap);
    let former = match before {
        Some((current, former)) if current == sha256 => former.clone(),
        Some((current, _)) => Some((current.clone(), until)),
        None => declared.iter().find(|hash| *hash != sha256).map(|hash| {
            // An end that was promised holds. Without one it was changed while nobody looked: the overlap begins now.
            let noted = noted.filter(|noted| noted.former_sha256 == *hash);
            (hash.clone(), noted.map_or(until, |noted| noted.until))
        }),
    };
    former.filter(|(_, until)| *until > now)
}

/// Whether a Secret that was read at `read` is to be read again.
pub(super) fn is_due(read: Timestamp, usable: bool, now: Timestamp) -> bool {
    now.since(read) >= if usable { AGAIN } else { SOON }
}

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;

    use super::*;

    #[test]
    fn passwords_and_hashes() {
        let hash = PasswordHash::dummy(&SystemRandom).to_string();
        assert!(matches!(password(format!("{hash}\n").as_bytes(), "x"), Ok(Given::Hash(found)) if found == hash));
        for (text, kept) in
            [("secret", "secret"), ("secret\n", "secret"), ("secret\r\n", "secret"), (" a \n\n", " a \n")]
        {
            let Ok(Given::Password(found)) = password(text.as_bytes(), "x") else { panic!("{text:?}") };
            assert_eq!(found.expose(), kept.as_bytes());
        }
        for bad in [b"".as_slice(), b"\n", &[0xff], &[b'x'; 1025], b"$pbkdf2-sha256$1$salt$hash"] {
            let (_, message) = password(bad, "Secret a/b, key c").err().unwrap();
            assert!(message.starts_with("Secret a/b, key c"), "{message}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_without_showing_it() {
        assert_eq!(client_secret(&[b'k'; 32], "x"), Ok(sha256_hex(&[b'k'; 32])));
        assert_eq!(client_secret(b"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\n", "x"), Ok(sha256_hex(&[b'k'; 32])));
        let (_, message) = client_secret(b"hunter2", "Secret a/b, key c").unwrap_err();
        assert!(
            message.contains("7 characters") && message.contains("32") && !message.contains("hunter2"),
            "{message}"
        );
        assert!(client_secret(&[b'x'; 1025], "x").is_err());
    }

    #[test]
    fn the_former_secret_is_valid_until_its_end() {
        let now = Timestamp::from_seconds(1000);
        let (hour, end) = (Duration::from_hours(1), now.plus(Duration::from_hours(1)));
        let known = |current: &str, former| Some((current.to_owned(), former));
        let of = |before: Option<(String, Option<(String, Timestamp)>)>, declared: &[&str], overlap| {
            let declared: Vec<String> = declared.iter().map(|hash| (*hash).to_owned()).collect();
            former("b", before.as_ref(), (&declared, None), overlap, now)
        };
        assert_eq!(of(None, &[], hour), None);
        assert_eq!(of(None, &["b"], hour), None);
        assert_eq!(of(None, &["a"], hour), Some(("a".to_owned(), end)), "changed while nobody looked");
        assert_eq!(of(None, &["b", "a"], hour), Some(("a".to_owned(), end)), "after a start, and no end is noted");
        assert_eq!(of(known("a", None), &["a"], hour), Some(("a".to_owned(), end)));
        assert_eq!(of(known("a", Some(("z".to_owned(), end))), &["a", "z"], hour), Some(("a".to_owned(), end)));
        let soon = now.plus(Duration::from_secs(1));
        assert_eq!(of(known("b", Some(("a".to_owned(), soon))), &["b", "a"], hour), Some(("a".to_owned(), soon)));
        assert_eq!(of(known("b", Some(("a".to_owned(), now))), &["b", "a"], hour), None, "it ended");
        assert_eq!(of(known("a", None), &["a"], Duration::ZERO), None);
    }

    #[test]
    fn an_end_that_was_promised_holds_over_a_start() {
        let now = Timestamp::from_seconds(1000);
        let (hour, soon) = (Duration::from_hours(1), now.plus(Duration::from_secs(1)));
        let of = |sha256: &str, declared: &[&str], former: &str, until| {
            let declared: Vec<String> = declared.iter().map(|hash| (*hash).to_owned()).collect();
            let noted = Overlap { client: "app".to_owned(), former_sha256: former.to_owned(), until };
            super::former(sha256, None, (&declared, Some(&noted)), hour, now)
        };
        assert_eq!(of("b", &["b", "a"], "a", soon), Some(("a".to_owned(), soon)));
        assert_eq!(of("b", &["b", "a"], "a", now), None, "it ended meanwhile");
        let end = now.plus(hour);
        assert_eq!(of("c", &["b", "a"], "a", soon), Some(("b".to_owned(), end)), "another one was put there meanwhile");
        assert_eq!(of("a", &["b", "a"], "a", soon), Some(("b".to_owned(), end)), "the former one was put back");
    }

    #[test]
    fn what_cannot_be_used_is_read_again_soon() {
        let now = Timestamp::from_seconds(1000);
        let ago = |seconds| now.minus(Duration::from_secs(seconds));
        assert!(!is_due(ago(30), true, now) && is_due(ago(30), false, now) && is_due(ago(600), true, now));
    }
}
