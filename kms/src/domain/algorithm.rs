//! The algorithms of keys as one table: a name, what it does, and how its material is made and parsed.

use keyrealm_base::Random;
use keyrealm_crypto::sign::{EDDSA, ES256, RS256, SignatureScheme, Signer, Verifier};
use keyrealm_crypto::{CryptoError, SecretBytes};
use keyrealm_jose::jwe::{A256KW, DIR, JweKey, KeyManagement};

/// A row of the table.
pub(crate) struct Algorithm {
    /// As the API names it.
    pub(crate) name: &'static str,
    kind: Kind,
}

enum Kind {
    Encryption(&'static KeyManagement),
    Signature(&'static SignatureScheme),
}

static TABLE: [Algorithm; 5] = [
    Algorithm { name: "A256GCM/A256KW", kind: Kind::Encryption(&A256KW) },
    Algorithm { name: "A256GCM/dir", kind: Kind::Encryption(&DIR) },
    Algorithm { name: "ES256", kind: Kind::Signature(&ES256) },
    Algorithm { name: "RS256", kind: Kind::Signature(&RS256) },
    Algorithm { name: "EdDSA", kind: Kind::Signature(&EDDSA) },
];

/// A key's parsed material.
pub(crate) enum Material {
    /// Encrypts and decrypts.
    Encryption {
        /// The parsed key.
        key: JweKey,
        /// Whether its uses are counted.
        counted: bool,
    },
    /// Signs and verifies.
    Signature {
        /// The algorithm.
        scheme: &'static SignatureScheme,
        /// The private half.
        signer: Box<dyn Signer>,
        /// The public half.
        verifier: Box<dyn Verifier>,
    },
}

impl Algorithm {
    /// The algorithm of this name.
    pub(crate) fn from_name(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.name == name)
    }

    /// All names, for messages and the OpenAPI document.
    pub(crate) fn names() -> Vec<&'static str> {
        TABLE.iter().map(|row| row.name).collect()
    }

    /// The names of those that sign.
    pub(crate) fn signing() -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(|row| matches!(row.kind, Kind::Signature(_))).map(|row| row.name)
    }

    /// Makes new material. Slow for RSA: not on an async thread.
    pub(crate) fn generate(&self, random: &dyn Random) -> Result<SecretBytes, CryptoError> {
        match self.kind {
            Kind::Encryption(_) => Ok(JweKey::generate(random)),
            Kind::Signature(scheme) => scheme.generate(),
        }
    }

    /// Parses stored material, once for all operations.
    pub(crate) fn parse(&self, material: SecretBytes) -> Result<Material, CryptoError> {
        match self.kind {
            Kind::Encryption(kind) => {
                Ok(Material::Encryption { key: JweKey::new(kind, material)?, counted: kind.counted })
            }
            Kind::Signature(scheme) => {
                let signer = scheme.signer(&material)?;
                let verifier = scheme.verifier(signer.public_key())?;
                Ok(Material::Signature { scheme, signer, verifier })
            }
        }
    }
}
