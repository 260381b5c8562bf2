//! The one enum of problem codes: the last path segment of a problem's `type` (RFC 9457), its status and its title.

use std::fmt;

macro_rules! problems {
    ($($variant:ident = $code:literal, $status:literal, $title:literal, $help:literal;)*) => {
        /// What went wrong, as every surface names it. `type` of a problem is `/problems/<code>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemCode {
            $(#[doc = $title] $variant,)*
        }

        impl ProblemCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The kebab-case code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// A short title that does not change from one occurrence to the next.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// How to mend it, as documented at `/problems/<code>`.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// The code with this name.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.code() == code)
            }
        }
    };
}

problems! {
    BadRequest = "bad-request", 400, "The request cannot be read", "Compare the request with the OpenAPI document; `detail` names the part that is wrong.";
    InvalidJson = "invalid-json", 400, "The body is not valid JSON", "Send one JSON object; `detail` gives line and column.";
    InvalidField = "invalid-field", 400, "A field has a value that is not allowed", "`detail` names the field and what is allowed there.";
    InvalidQuery = "invalid-query", 400, "A query parameter is not allowed", "`detail` names the parameter and the allowed values.";
    InvalidId = "invalid-id", 400, "The id is not a UUID of the right version", "Ids are hyphenated UUIDs as the API returned them.";
    InvalidContext = "invalid-context", 400, "The encryption context is not allowed", "A context is 1 to 2048 bytes of UTF-8 text.";
    WrongKeyPurpose = "wrong-key-purpose", 400, "The key's algorithm does not do this operation", "Encrypt with an encryption key, sign with a signing key; `GET /api/v1/keys/{key_id}` shows the algorithm.";
    AlgorithmNotAllowed = "algorithm-not-allowed", 400, "The algorithm is unknown or not allowed", "`detail` lists the algorithms that are.";
    DecryptionFailed = "decryption-failed", 400, "The ciphertext does not open", "The text was changed, belongs to another key, or the context differs from the one given on encrypt. The server does not say which.";
    SignatureInvalid = "signature-invalid", 400, "The signature does not verify", "The text was changed, belongs to another key, or the context differs from the one given on sign. The server does not say which.";
    Unauthenticated = "unauthenticated", 401, "No credential was given", "Send `Authorization: Bearer <access token>`.";
    InvalidToken = "invalid-token", 401, "The access token is not valid", "Get a new access token from the issuer; check that its audience is this server.";
    InsufficientScope = "insufficient-scope", 403, "The token's scope does not cover this operation", "Ask the issuer for one of the scopes in `WWW-Authenticate`.";
    NoTenant = "no-tenant", 403, "The caller belongs to no tenant", "Tenant routes need a credential of a tenant; a platform credential reaches the admin API only.";
    NotFound = "not-found", 404, "There is no such object", "Check the id; an object of another tenant answers the same.";
    MethodNotAllowed = "method-not-allowed", 405, "The method is not allowed here", "`Allow` lists the methods of this path.";
    NameTaken = "name-taken", 409, "The name is in use", "Names are unique in a tenant; choose another or use the existing object.";
    KeyState = "key-state", 409, "The key's state does not allow this operation", "`detail` gives the state; enable the key or use another version.";
    ManagedByResource = "managed-by-resource", 409, "The object is managed by a resource", "Change it where it is declared; rotate is allowed here.";
    LimitReached = "limit-reached", 409, "A limit of this tenant or key is reached", "`detail` names the limit; rotate the key or remove what is not used.";
    PayloadTooLarge = "payload-too-large", 413, "The body is too large", "The limit is 2 MiB.";
    UnsupportedMediaType = "unsupported-media-type", 415, "The content type is not supported here", "Send `Content-Type: application/json`.";
    Internal = "internal", 500, "The server failed", "Give `request_id` to whoever runs the server: the log has the cause.";
    IntegrityError = "integrity-error", 500, "A stored record failed its integrity check", "Somebody changed or restored rows of the database. The log names the record.";
    Unavailable = "unavailable", 503, "The server cannot answer now", "Try again after `Retry-After`.";
    StaleKeys = "stale-keys", 503, "This replica has lost touch with the database", "Its lease on cached keys ended; try again, another replica may answer.";
    IssuerUnavailable = "issuer-unavailable", 503, "The token issuer cannot be reached", "The token could not be checked; try again after `Retry-After`.";
    TenantUnavailable = "tenant-unavailable", 503, "The tenant is not ready", "Its schema is being created or migrated, or it is disabled.";
    Timeout = "timeout", 504, "The request took too long", "Try again; the server stopped working on it.";
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_unique_and_found_by_name() {
        let mut seen = std::collections::HashSet::new();
        for code in ProblemCode::ALL {
            assert!(seen.insert(code.code()), "{code} twice");
            assert!(code.code().chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            assert!((400..=504).contains(&code.status()));
            assert!(!code.help().is_empty() && !code.title().is_empty());
            assert_eq!(ProblemCode::from_code(code.code()), Some(*code));
        }
    }
}
