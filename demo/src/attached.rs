//! Servers that run already: the files and URLs that were given, checked before the first step.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use identity::seed::DemoCredentials;
use keyrealm_base::{Clock, SystemClock};
#[cfg(feature = "kubernetes")]
use keyrealm_crypto::SecretBytes;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_tls::{Identity, IdentityFiles, ReloadingIdentity, TrustBundle, client_config, read_private};
use url::Url;

use crate::calls::Caller;
use crate::endpoints::{Admin, Endpoints, Files, Notes, Shell};
use crate::target::AttachFlags;

/// The admin ports of host processes: Identity and KMS.
const ADMIN_PORTS: [u16; 2] = [9092, 9091];

/// Where `host:port` really is.
pub(crate) type Addresses = HashMap<String, SocketAddr>;

/// What was given, read and checked.
pub(crate) struct Attached {
    pub(crate) identity: Url,
    pub(crate) kms: Url,
    ca: PathBuf,
    trust: TrustBundle,
    operator: Option<Arc<ReloadingIdentity>>,
    credentials: DemoCredentials,
    files: Files,
}

/// What somebody else than the flags says of servers that run already.
#[cfg(feature = "kubernetes")]
pub(crate) struct Told {
    /// The issuer's URL.
    pub(crate) identity: String,
    /// The KMS's URL.
    pub(crate) kms: String,
    /// The CA bundle, PEM.
    pub(crate) ca: String,
    /// The bundle's file in commands of the card.
    pub(crate) ca_file: PathBuf,
    /// `credentials.json`.
    pub(crate) credentials: SecretBytes,
    /// The object that holds them.
    pub(crate) secret: String,
}

/// An admin listener's URL, and where that really is.
pub(crate) struct AdminAt {
    pub(crate) url: Url,
    pub(crate) addresses: Addresses,
}

impl Attached {
    /// Reads what the flags name.
    ///
    /// # Errors
    /// When a URL is none of a server, or a file cannot be used.
    pub(crate) fn read(flags: &AttachFlags) -> Result<Self> {
        let identity = server_url("--identity-url", flags.identity_url.as_deref())?;
        let kms = server_url("--kms-url", flags.kms_url.as_deref())?;
        ensure!(host_port(&identity) != host_port(&kms), "--identity-url and --kms-url name the same server: {kms}");
        let ca = file("--ca", flags.ca.as_deref())?;
        let trust = TrustBundle::from_file(&ca, SystemClock.now()).context("--ca cannot be used")?;
        let operator = operator(flags, &trust)?;
        let credentials_file = file("--credentials", flags.credentials.as_deref())?;
        let credentials = read_credentials(&credentials_file)?;
        let (ca, file) = (std::path::absolute(&ca)?, std::path::absolute(&credentials_file)?);
        Ok(Self { identity, kms, ca, trust, operator, credentials, files: Files::Credentials(file) })
    }

    /// Checks what was told.
    ///
    /// # Errors
    /// When a URL is none of a server, or what was told cannot be used.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn told(flags: &AttachFlags, told: Told) -> Result<Self> {
        let identity = server_url("status.endpoints.issuer", Some(&told.identity))?;
        let kms = server_url("status.endpoints.kms", Some(&told.kms))?;
        let trust = TrustBundle::from_pem(told.ca.as_bytes(), SystemClock.now())
            .context("ca.crt of its trust bundle cannot be used")?;
        let operator = operator(flags, &trust)?;
        let credentials: DemoCredentials = serde_json::from_slice(told.credentials.expose())
            .map_err(|_| anyhow::anyhow!("credentials.json of {} has no users and clients", told.secret))?;
        let missing = credentials.missing();
        ensure!(missing.is_empty(), "credentials.json of {}: {} is missing", told.secret, missing.join(", "));
        let files = Files::Secret(told.secret);
        Ok(Self { identity, kms, ca: told.ca_file, trust, operator, credentials, files })
    }

    /// The servers at their URLs.
    ///
    /// # Errors
    /// When an admin URL is none, or rustls refuses the bundle.
    pub(crate) fn at_urls(self, flags: &AttachFlags) -> Result<Endpoints> {
        let admin = |name, given: &Option<String>, server: &Url, port| -> Result<AdminAt> {
            let url = match given {
                Some(given) => server_url(name, Some(given))?,
                None => with_port(server, port)?,
            };
            Ok(AdminAt { url, addresses: Addresses::new() })
        };
        let [identity, kms] = ADMIN_PORTS;
        let identity = admin("--identity-admin-url", &flags.identity_admin_url, &self.identity, identity)?;
        let kms = admin("--kms-admin-url", &flags.kms_admin_url, &self.kms, kms)?;
        self.endpoints(Addresses::new(), [identity, kms], Shell::default(), Notes::complaints())
    }

    /// The servers, with where they really are. Admin listeners: Identity's, then the KMS's.
    ///
    /// # Errors
    /// When rustls refuses the bundle.
    pub(crate) fn endpoints(
        self,
        addresses: Addresses,
        admin: [AdminAt; 2],
        shell: Shell,
        complaints: Notes,
    ) -> Result<Endpoints> {
        let plain = client_config(&self.trust, None)?;
        let operator = self.operator.as_ref().map(|own| client_config(&self.trust, Some(own))).transpose()?;
        let exchanges = Notes::exchanges();
        let client = |addresses: &Addresses, tls| {
            let options = ClientOptions { addresses: addresses.clone(), ..ClientOptions::default() };
            Caller::new(HttpsClient::new(tls, options), &exchanges)
        };
        let listener = |name, at: AdminAt| Admin {
            name,
            plain: client(&at.addresses, &plain),
            operator: operator.as_ref().map(|tls| client(&at.addresses, tls)),
            url: at.url,
        };
        let [identity, kms] = admin;
        Ok(Endpoints {
            issuer: self.identity,
            kms: self.kms,
            admin: [listener("identity", identity), listener("kms", kms)],
            ca: self.ca,
            files: self.files,
            credentials: self.credentials,
            client: client(&addresses, &plain),
            shell,
            complaints,
            exchanges: exchanges.clone(),
        })
    }
}

/// The certificate for the admin listeners, if one was given.
fn operator(flags: &AttachFlags, trust: &TrustBundle) -> Result<Option<Arc<ReloadingIdentity>>> {
    let (Some(certificate), Some(key)) = (&flags.client_certificate, &flags.client_key) else { return Ok(None) };
    let files = IdentityFiles { certificate: certificate.clone(), key: key.clone() };
    let identity = Identity::from_files(&files, trust, SystemClock.now())
        .context("--client-certificate and --client-key cannot be used")?;
    Ok(Some(ReloadingIdentity::new(identity)))
}

fn file(flag: &'static str, given: Option<&Path>) -> Result<PathBuf> {
    Ok(given.with_context(|| format!("{flag} is missing"))?.to_owned())
}

/// A server's URL: https, a host, perhaps a port, nothing else.
fn server_url(flag: &'static str, given: Option<&str>) -> Result<Url> {
    let text = given.with_context(|| format!("{flag} is missing"))?;
    let wanted = || format!("{flag} {text}: expected https://HOST or https://HOST:PORT");
    let url = Url::parse(text).with_context(wanted)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    ensure!(url.scheme() == "https" && url.host_str().is_some() && bare && nobody, wanted());
    Ok(url)
}

/// The same host with another port.
///
/// # Errors
/// When the URL has no host.
pub(crate) fn with_port(url: &Url, port: u16) -> Result<Url> {
    let mut other = url.clone();
    ensure!(other.set_port(Some(port)).is_ok(), "{url} has no host");
    Ok(other)
}

/// A URL's port, the scheme's own where it names none.
pub(crate) fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(443)
}

/// A URL's `host:port`, as the client looks it up.
pub(crate) fn host_port(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), port_of(url))
}

/// Users and clients; everything that the steps log in with must be there.
fn read_credentials(path: &Path) -> Result<DemoCredentials> {
    let how = "it is the file that `identity serve --demo --demo-credentials FILE` writes";
    let text = read_private(path).context("--credentials cannot be read")?;
    let given: DemoCredentials = serde_json::from_slice(text.expose())
        .with_context(|| format!("--credentials {}: no users and clients; {how}", path.display()))?;
    // Its names are those of every demo; only the passwords differ.
    let missing = given.missing();
    ensure!(missing.is_empty(), "--credentials {}: {} is missing; {how}", path.display(), missing.join(", "));
    Ok(given)
}

#[cfg(test)]
mod tests {
    use keyrealm_tls::write_private;

    use super::*;

    #[test]
    fn a_servers_url_is_https_and_bare() {
        let url = |text: &str| server_url("--kms-url", Some(text));
        assert_eq!(host_port(&url("https://kms.demo.localhost").unwrap()), "kms.demo.localhost:443");
        assert_eq!(host_port(&url("https://kms.demo.localhost:8080/").unwrap()), "kms.demo.localhost:8080");
        assert_eq!(host_port(&with_port(&url("https://[::1]:8080").unwrap(), 9090).unwrap()), "[::1]:9090");
        for bad in ["http://kms", "kms:8080", "https://kms/api", "https://u:p@kms", "https://kms?x", "https://"] {
            let refused = format!("{:#}", url(bad).unwrap_err());
            assert!(refused.contains("--kms-url") && refused.contains("https://HOST"), "{refused}");
        }
    }

    #[test]
    fn credentials_must_be_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        let mut credentials = DemoCredentials::documented();
        let write = |credentials: &DemoCredentials| {
            write_private(&path, serde_json::to_string(credentials).unwrap().as_bytes()).unwrap();
        };
        write(&credentials);
        assert_eq!(read_credentials(&path).unwrap().password("demo-user"), "demo-user-password");
        credentials.clients.retain(|client| client.client_id != "demo-service-client");
        write(&credentials);
        let refused = read_credentials(&path).err().unwrap().to_string();
        assert!(refused.contains("demo-service-client") && refused.contains("--demo-credentials"), "{refused}");
        std::fs::write(&path, "{}").unwrap();
        assert!(read_credentials(&path).err().unwrap().to_string().contains("credentials.json"));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(format!("{:#}", read_credentials(&path).err().unwrap()).contains("chmod 600"));
    }
}
