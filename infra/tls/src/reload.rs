//! Certificates that are replaced in place: new handshakes show the new one, open connections go on undisturbed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use keyrealm_base::SharedClock;
use notify::{RecursiveMode, Watcher};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Identity, IdentityFiles, TlsError, TrustBundle};

/// Several events of one replacement are taken together.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Where events are lost (some file systems send none) the files are read this often.
const POLL: Duration = Duration::from_secs(30);

/// The identity that is shown in the next handshake.
pub struct ReloadingIdentity(ArcSwap<Identity>);

impl std::fmt::Debug for ReloadingIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReloadingIdentity({})", self.0.load().chain_sha256())
    }
}

/// Ends the watch when dropped.
pub struct Watch {
    task: JoinHandle<()>,
    _watcher: notify::RecommendedWatcher,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ReloadingIdentity {
    /// Starts with this identity.
    #[must_use]
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(identity)))
    }

    /// The identity shown now.
    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        self.0.load_full()
    }

    /// Loads the files and watches them: each valid new pair is taken at once, each other one is logged and left.
    ///
    /// # Errors
    /// When the files cannot be used now, or not be watched.
    pub fn watch(files: IdentityFiles, trust: TrustBundle, clock: SharedClock) -> Result<(Arc<Self>, Watch), TlsError> {
        let (wake, mut woken) = mpsc::channel::<()>(1);
        let failed = |error: notify::Error| TlsError::Watch(error.to_string());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // To open and to read is no change, and `Source::read` does just that: it must not wake itself.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            // A full channel already holds what there is to say.
            let _ = wake.try_send(());
        })
        .map_err(failed)?;
        // The folders, not the files: kubelet and our own writer replace the files themselves.
        for file in [&files.certificate, &files.key] {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            watcher.watch(folder, RecursiveMode::NonRecursive).map_err(failed)?;
        }
        // Read when the watch stands already, so that no replacement falls between the two.
        let source = Arc::new(Source { files, trust, clock });
        let identity = Self::new(source.read()?);
        let shown = Arc::clone(&identity);
        let task = tokio::spawn(async move {
            let mut last = LastRefusal::default();
            loop {
                // Ends by abort when the watch is dropped; the channel lives as long as the watcher.
                let _ = tokio::time::timeout(POLL, woken.recv()).await;
                tokio::time::sleep(DEBOUNCE).await;
                while woken.try_recv().is_ok() {}
                let source = Arc::clone(&source);
                // Files and signatures take their time: not on an async thread.
                let read = tokio::task::spawn_blocking(move || source.read()).await;
                shown.take(read.unwrap_or_else(|error| Err(TlsError::Watch(error.to_string()))), &mut last);
            }
        });
        Ok((identity, Watch { task, _watcher: watcher }))
    }

    fn take(&self, read: Result<Identity, TlsError>, last: &mut LastRefusal) {
        let news = last.is_news(read.as_ref().err().map(ToString::to_string));
        match read {
            Ok(fresh) if fresh.chain_sha256() != self.0.load().chain_sha256() => {
                tracing::info!(chain = fresh.chain_sha256(), until = %fresh.not_after(), "certificate replaced");
                self.0.store(Arc::new(fresh));
            }
            Ok(_) => {}
            Err(error) if news => tracing::warn!(%error, "the new certificate cannot be used; the old one stays"),
            Err(_) => {}
        }
    }
}

/// What is read at each change.
struct Source {
    files: IdentityFiles,
    trust: TrustBundle,
    clock: SharedClock,
}

impl Source {
    fn read(&self) -> Result<Identity, TlsError> {
        Identity::from_files(&self.files, &self.trust, self.clock.now())
    }
}

/// The refusal that was logged last: met again at each poll, it is no news until something else came between.
#[derive(Default)]
struct LastRefusal(Option<String>);

impl LastRefusal {
    fn is_news(&mut self, refusal: Option<String>) -> bool {
        let news = refusal != self.0;
        self.0 = refusal;
        news
    }
}

impl ResolvesServerCert for ReloadingIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().certified))
    }
}

impl ResolvesClientCert for ReloadingIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_news_once() {
        let mut last = LastRefusal::default();
        let mut news = |refusal: Option<&str>| last.is_news(refusal.map(str::to_owned));
        assert!(news(Some("a")) && !news(Some("a")) && news(Some("b")) && !news(Some("b")));
        assert!(news(None) && !news(None), "a good pair came between");
        assert!(news(Some("b")));
    }
}
