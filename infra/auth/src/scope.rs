//! Scopes as one table: the coarse ones, the fine ones, and what includes what.

use std::fmt;

macro_rules! scopes {
    ($($variant:ident = $name:literal in [$($parent:ident),*], $text:literal;)*) => {
        /// A scope that this realm knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Scope {
            $(#[doc = $text] $variant,)*
        }

        impl Scope {
            /// Every scope, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as it stands in a token (RFC 6749, section 3.3).
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the scope allows, in a few words, as the consent page shows it.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The coarse scopes that include this one.
            const fn included_in(self) -> &'static [Self] {
                match self { $(Self::$variant => &[$(Self::$parent,)*],)* }
            }
        }
    };
}

scopes! {
    OpenId = "openid" in [], "Sign you in and tell the application who you are";
    Profile = "profile" in [], "Read your name and profile";
    Email = "email" in [], "Read your e-mail address";
    OfflineAccess = "offline_access" in [], "Keep access while you are away";
    KmsAdmin = "kms:admin" in [], "Administer all keys of your tenant";
    KmsWrite = "kms:write" in [KmsAdmin], "Create, change and use the keys of your tenant";
    KmsRead = "kms:read" in [KmsAdmin], "Read keys and verify signatures";
    Encrypt = "kms:encrypt" in [KmsAdmin, KmsWrite], "Encrypt with a key";
    Decrypt = "kms:decrypt" in [KmsAdmin, KmsWrite], "Decrypt with a key";
    Sign = "kms:sign" in [KmsAdmin, KmsWrite], "Sign with a key";
    Verify = "kms:verify" in [KmsAdmin, KmsRead], "Verify signatures";
    Wrap = "kms:wrap" in [KmsAdmin, KmsWrite], "Wrap keys";
    Unwrap = "kms:unwrap" in [KmsAdmin, KmsWrite], "Unwrap keys";
    Generate = "kms:generate" in [KmsAdmin, KmsWrite], "Generate data keys";
    Derive = "kms:derive" in [KmsAdmin, KmsWrite], "Derive keys";
    KeyCreate = "kms:key:create" in [KmsAdmin, KmsWrite], "Create keys";
    KeyRead = "kms:key:read" in [KmsAdmin, KmsRead], "Read keys and their public parts";
    KeyUpdate = "kms:key:update" in [KmsAdmin, KmsWrite], "Change, disable and enable keys";
    KeyDelete = "kms:key:delete" in [KmsAdmin, KmsWrite], "Delete and restore keys";
    VersionCreate = "kms:version:create" in [KmsAdmin, KmsWrite], "Add versions to keys";
    VersionRotate = "kms:version:rotate" in [KmsAdmin, KmsWrite], "Rotate keys";
    VersionRevoke = "kms:version:revoke" in [KmsAdmin, KmsWrite], "Revoke versions of keys";
    VersionDestroy = "kms:version:destroy" in [KmsAdmin, KmsWrite], "Destroy versions of keys";
}

impl Scope {
    /// The scope of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scope| scope.name() == name)
    }

    const fn bit(self) -> u64 {
        1 << self as u64
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of known scopes. Scopes that nobody knows never decide anything.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeSet(u64);

/// A scope text that breaks the syntax of RFC 6749, section 3.3.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a scope is a list of names of printable ASCII, without quotes and backslashes, parted by single spaces")]
pub struct ScopeSyntaxError;

/// A scope text, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedScope {
    /// The scopes known here.
    pub known: ScopeSet,
    /// The names known to nobody here, at most 16 of them.
    pub unknown: Vec<String>,
}

impl ScopeSet {
    /// No scope at all.
    pub const EMPTY: Self = Self(0);

    /// Parses a scope text.
    ///
    /// # Errors
    /// When it breaks the syntax of RFC 6749, section 3.3.
    pub fn parse(text: &str) -> Result<ParsedScope, ScopeSyntaxError> {
        let mut parsed = ParsedScope::default();
        if text.is_empty() {
            return Ok(parsed);
        }
        for name in text.split(' ') {
            let legal = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            if name.is_empty() || !name.bytes().all(legal) {
                return Err(ScopeSyntaxError);
            }
            match Scope::from_name(name) {
                Some(scope) => parsed.known = parsed.known.with(scope),
                None if parsed.unknown.len() < 16 => parsed.unknown.push(name.to_owned()),
                None => {}
            }
        }
        Ok(parsed)
    }

    /// This set and one more scope.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Whether the scope itself is in the set.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set allows what `scope` stands for: by itself or by a coarse scope that includes it.
    #[must_use]
    pub fn allows(self, scope: Scope) -> bool {
        self.contains(scope) || scope.included_in().iter().any(|parent| self.contains(*parent))
    }

    /// The scopes of this set that `other` allows too.
    #[must_use]
    pub fn allowed_by(self, other: Self) -> Self {
        self.iter().filter(|scope| other.allows(*scope)).collect()
    }

    /// Whether every scope of this set is allowed by `other`.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.iter().all(|scope| other.allows(scope))
    }

    /// Whether no scope is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap().known
    }

    #[test]
    fn coarse_scopes_include_fine_ones_and_never_the_other_way() {
        assert!(set("kms:write").allows(Scope::Decrypt) && set("kms:admin").allows(Scope::KeyRead));
        assert!(set("kms:read").allows(Scope::Verify) && !set("kms:read").allows(Scope::Decrypt));
        assert!(!set("kms:write").allows(Scope::KeyRead), "decisions 5.1: reading is not writing");
        assert!(!set("kms:encrypt").allows(Scope::KmsWrite) && !set("kms:encrypt").allows(Scope::Decrypt));
        assert!(!set("openid profile email").allows(Scope::Encrypt));
    }

    #[test]
    fn names_match_whole_and_unknown_ones_decide_nothing() {
        let parsed = ScopeSet::parse("kms:enc kms:encrypt:all KMS:ADMIN x").unwrap();
        assert!(parsed.known.is_empty());
        assert_eq!(parsed.unknown.len(), 4);
        for bad in ["a  b", " a", "a ", "a\tb", "a\"b", "a\\b", "é"] {
            assert_eq!(ScopeSet::parse(bad), Err(ScopeSyntaxError), "{bad:?}");
        }
    }

    #[test]
    fn sets_print_in_table_order_and_shrink() {
        assert_eq!(set("kms:sign openid kms:sign").to_string(), "openid kms:sign");
        assert_eq!(set("kms:sign kms:key:read").allowed_by(set("kms:write")).to_string(), "kms:sign");
        assert!(set("kms:sign").is_within(set("kms:write")) && !set("kms:write").is_within(set("kms:sign")));
        assert!(Scope::ALL.len() < 64, "the set is one word");
    }
}
