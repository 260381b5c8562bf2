//! Issues certificates: read the CA's Secret, sign, write the leaf's Secret with all that is said of it in one call.

use keyrealm_pki::{CertificateInfo, Leaf, PkiError, certificates, chain_sha256};

use super::contents;
use super::error::Error;
use super::facts::RootFacts;
use super::wanted::Wanted;
use crate::child::{ChildKind, ChildRef};
use crate::children::{Home, Part, secret};
use crate::context::Context;
use crate::executor::Ensured;

/// Issues a part's certificate by the realm's CAs, which are those of `root`, and writes it. The log says for what reason.
///
/// # Errors
/// When the Realm asks for what cannot be, its CAs are not what they were, or a call fails.
pub async fn leaf(
    context: &Context,
    home: &Home<'_>,
    part: Part,
    reason: &'static str,
    root: &RootFacts,
) -> Result<Ensured, Error> {
    let realm = || format!("{}/{}", home.namespace, home.name);
    let pki = |attempt: &'static str| move |source: PkiError| Error::Pki { realm: realm(), attempt, source };
    // A plan for a Realm that asks for something else has no such step.
    let Ok(wanted) = Wanted::of(home) else { return Ok(Ensured::Waiting) };
    let at = match &home.spec.tls.root {
        Some(source) => ChildRef::new(ChildKind::Secret, home.namespace, &source.secret_ref.name),
        None => home.at(ChildKind::Secret, secret::root_ca::SUFFIX),
    };
    let gone = |why: String| Error::Secret { realm: realm(), secret: at.to_string(), why };
    let found = context.read_secret(&at.namespace, &at.name).await?;
    let found = found.ok_or_else(|| gone("it is gone".to_owned()))?;
    let chain = contents::chain(&found).map_err(gone)?;
    let now = context.clock.now();
    let asked = secret::leaf::spec(home, part, wanted.leaf_lifetime);
    let names_hash = secret::leaf::names_hash(&asked, wanted.chain.algorithm, &root.sha256);
    // No leaf outlives its CA; near the CA's end leaves are shorter.
    let rest = root.not_after.since(now.plus(std::time::Duration::from_secs(1)));
    let mut spec = asked;
    spec.lifetime = spec.lifetime.min(rest);
    let renew_before = wanted.renew_before.min(spec.lifetime / 3);
    let issued = chain.issue_leaf(&spec, context.clock.as_ref(), context.random.as_ref());
    let leaf = issued.map_err(pki("issuing a certificate"))?;
    let (chain_sha256, not_after) = facts(&leaf).map_err(pki("reading a certificate"))?;
    let issued = secret::leaf::Issued {
        chain_pem: &leaf.chain_pem,
        key_pem: &leaf.key_pem,
        bundle_pem: &root.bundle_pem,
        chain_sha256,
        names_hash,
        not_after,
        renewal: secret::leaf::renewal(not_after, renew_before, home.uid, part),
    };
    tracing::info!(realm = realm(), part = part.name(), reason, until = %not_after, "a certificate is issued");
    Ok(context.ensure(&secret::leaf::of(home, part, issued)).await?)
}

/// The hash of a chain as servers report it, and its end.
fn facts(leaf: &Leaf) -> Result<(String, keyrealm_base::Timestamp), PkiError> {
    let chain = certificates(leaf.chain_pem.as_bytes())?;
    let first = chain.first().map(CertificateInfo::parse).transpose()?;
    Ok((chain_sha256(&chain), first.map(|info| info.not_after).unwrap_or_default()))
}
