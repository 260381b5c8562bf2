//! Opaque handles (codes, refresh tokens, sessions, interactions): a tenant to find them by and 256 random bits, in one
//! base64url text. Only the SHA-256 of the whole text is stored, so the tenant in it cannot be changed.

use keyrealm_base::{Random, TenantId};
use keyrealm_crypto::sha256;
use keyrealm_jose::b64;

const LENGTH: usize = 16 + 32;

/// A handle as its holder has it. No Debug: it is a secret.
pub(crate) struct Handle {
    text: String,
    tenant: TenantId,
}

impl Handle {
    /// A fresh handle.
    pub(crate) fn new(tenant: TenantId, random: &dyn Random) -> Self {
        let secret: [u8; 32] = random.bytes();
        Self { text: b64::encode([&tenant.as_bytes()[..], &secret].concat()), tenant }
    }

    /// Reads a handle; `None` when it cannot be one of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = b64::decode(text).filter(|bytes| bytes.len() == LENGTH)?;
        let (tenant, _) = bytes.split_first_chunk::<16>()?;
        // Through its text, so that only a UUID of version 4 passes.
        let hex: String = tenant.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |from, to| hex.get(from..to).unwrap_or_default();
        let shown = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
        Some(Self { text: text.to_owned(), tenant: shown.parse().ok()? })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What is stored.
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;

    use super::*;

    #[test]
    fn handles_round_trip_and_nothing_else_parses() {
        let tenant = TenantId::new(&SystemRandom);
        let handle = Handle::new(tenant, &SystemRandom);
        let read = Handle::parse(handle.text()).unwrap();
        assert!(read.tenant() == tenant && read.hash() == handle.hash());
        for bad in ["", "AAAA", &handle.text()[1..], &b64::encode([0; LENGTH]), &format!("{}=", handle.text())] {
            assert!(Handle::parse(bad).is_none(), "{bad}");
        }
    }
}
