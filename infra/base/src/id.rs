//! Typed ids. Tenant ids are UUIDv4 (unpredictable), all others UUIDv7 (ordered by time); both are parsed strictly:
//! hyphenated 8-4-4-4-12, the RFC 9562 variant, the right version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid, Variant};

use crate::{Clock, Random};

/// Why a text is no id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{shown}` is not a {kind}: expected a hyphenated UUID of version {version}")]
pub struct IdError {
    shown: String,
    kind: &'static str,
    version: usize,
}

/// A fresh UUIDv7 from the given clock and randomness (RFC 9562, section 5.7).
#[must_use]
pub fn new_uuid_v7(clock: &dyn Clock, random: &dyn Random) -> Uuid {
    let millis = u64::try_from(clock.now().millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &random.bytes()).into_uuid()
}

/// A fresh UUIDv4 from the given randomness (RFC 9562, section 5.4).
#[must_use]
fn new_uuid_v4(random: &dyn Random) -> Uuid {
    Builder::from_random_bytes(random.bytes()).into_uuid()
}

fn parse(text: &str, kind: &'static str, version: usize) -> Result<Uuid, IdError> {
    let refuse = || IdError { shown: text.chars().take(64).collect(), kind, version };
    // `Uuid::try_parse` also takes braces, URNs and the plain form: only the hyphenated form is an id here.
    if text.len() != 36 {
        return Err(refuse());
    }
    let id = Uuid::try_parse(text).map_err(|_| refuse())?;
    if id.get_version_num() != version || id.get_variant() != Variant::RFC4122 {
        return Err(refuse());
    }
    Ok(id)
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $version:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The UUID inside.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes, for authenticated data.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, $kind, $version).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! id_v7 {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {
        $(
            id_type!($(#[$doc])* $name, $kind, 7);

            impl $name {
                /// A fresh id.
                #[must_use]
                pub fn new(clock: &dyn Clock, random: &dyn Random) -> Self {
                    Self(new_uuid_v7(clock, random))
                }
            }
        )*
    };
}

id_type!(
    /// A tenant: UUIDv4, drawn at random, never meaningful.
    TenantId, "tenant id", 4
);

impl TenantId {
    /// A fresh tenant id. Only the registrar draws one.
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        Self(new_uuid_v4(random))
    }

    /// The 32 lower-case hex digits used in schema and file names.
    #[must_use]
    pub fn simple(self) -> String {
        self.0.as_simple().to_string()
    }
}

id_v7! {
    /// The deployment: minted once, in `meta`, bound into every sealed record.
    DeploymentId, "deployment id";
    /// A KMS key (all its versions).
    KeyId, "key id";
    /// One version of a KMS key; the `kid` of its JOSE objects.
    VersionId, "version id";
    /// A running process of a product, as written to `instances`.
    InstanceId, "instance id";
    /// A request, as returned in `x-request-id` and in problems.
    RequestId, "request id";
    /// Any other stored object: a user, a client, a session, a token family.
    ObjectId, "id";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    struct At(i64);
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0)
        }
    }
    struct Ones;
    impl Random for Ones {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0xff);
        }
    }

    #[test]
    fn ids_have_their_version_and_sort_by_time() {
        let (a, b) = (KeyId::new(&At(1_000), &Ones), KeyId::new(&At(1_001), &Ones));
        assert!(a < b && a.to_string() < b.to_string());
        assert_eq!(a.to_string().parse::<KeyId>().unwrap(), a);
        assert_eq!(TenantId::new(&Ones).uuid().get_version_num(), 4);
    }

    /// Nil, other versions, braces, the plain form, URNs and 36 random letters are refused (TEN-10).
    #[test]
    fn strict_parse() {
        let v4 = "3f0e8b52-6f0e-4d9c-9b55-0d9f1f1d2a11";
        let v7 = "01932c07-209d-7ee4-b2fd-4bb1a8a7d8a1";
        assert!(v4.parse::<TenantId>().is_ok() && v7.parse::<KeyId>().is_ok());
        for bad in [
            "00000000-0000-0000-0000-000000000000",
            v7,
            "{3f0e8b52-6f0e-4d9c-9b55-0d9f1f1d2a11}",
            "3f0e8b526f0e4d9c9b550d9f1f1d2a11",
            "urn:uuid:3f0e8b52-6f0e-4d9c-9b55-0d9f1f1d2a11",
            "3f0e8b52-6f0e-4d9c-0b55-0d9f1f1d2a11",
            "zzzzzzzz-zzzz-4zzz-9zzz-zzzzzzzzzzzz",
            "",
        ] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
        assert!(v4.parse::<KeyId>().is_err());
        let long = "x".repeat(10_000).parse::<KeyId>().unwrap_err().to_string();
        assert!(long.len() < 200, "the error echoes a bounded part of the input");
    }
}
