//! Where the servers are, as flags: which belong together, and which make no sense.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::{Cli, OnPartial};

/// Where the servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// In this process, on SQLite.
    Embedded,
    /// Where --kms-url and --identity-url say; they run already.
    Urls,
    /// In a Kubernetes cluster, reached by port-forwards through its API server (a build with the feature `kubernetes`).
    Kubernetes,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Urls => "urls",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// The flags for servers that run already.
#[derive(Debug, Default, Args)]
pub struct AttachFlags {
    /// The KMS's public URL. Not with --target embedded; with --target kubernetes only for servers without a
    /// DemoEnvironment, as the three flags that follow.
    #[arg(long, global = true, value_name = "URL")]
    pub kms_url: Option<String>,
    /// Identity's public URL: the issuer. Not with --target embedded.
    #[arg(long, global = true, value_name = "URL")]
    pub identity_url: Option<String>,
    /// The CA bundle that both servers' certificates come from. Not with --target embedded.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The demo's users and clients, as `identity serve --demo --demo-credentials` wrote them (mode 0600). Not with
    /// --target embedded.
    #[arg(long, global = true, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// A certificate for the admin listeners: with it the health step reads the details, too. Not with --target
    /// embedded.
    #[arg(long, global = true, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// The key of --client-certificate (mode 0600).
    #[arg(long, global = true, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// The KMS's admin listener (default: the host of --kms-url, port 9091). Only with --target urls.
    #[arg(long, global = true, value_name = "URL")]
    pub kms_admin_url: Option<String>,
    /// Identity's admin listener (default: the host of --identity-url, port 9092). Only with --target urls.
    #[arg(long, global = true, value_name = "URL")]
    pub identity_admin_url: Option<String>,
    /// The namespace of the DemoEnvironment, or of the Services. Only with --target kubernetes.
    #[arg(long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The DemoEnvironment (default: the only one of the namespace). Only with --target kubernetes.
    #[arg(long, global = true, value_name = "NAME")]
    pub demo_environment: Option<String>,
    /// The kubeconfig (default: as kubectl: KUBECONFIG, ~/.kube/config, the pod's service account). Only with --target
    /// kubernetes.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig (default: its current one). Only with --target kubernetes.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
}

/// Flags that do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    /// Something is missing.
    #[error("--target {target} needs {}", .flags.join(", "))]
    Missing {
        /// The target.
        target: &'static str,
        /// The flags.
        flags: Vec<&'static str>,
    },
    /// Something makes no sense.
    #[error("{} cannot be used with --target {target}", .flags.join(", "))]
    Refused {
        /// The target.
        target: &'static str,
        /// The flags.
        flags: Vec<&'static str>,
    },
    /// There is nothing that they could be about.
    #[error("{} needs --data-dir: without it nothing is kept", .flags.join(", "))]
    Temporary {
        /// The flags.
        flags: Vec<&'static str>,
    },
    /// Two say where the servers are.
    #[error(
        "--demo-environment says where the servers are: leave out --kms-url, --identity-url, --ca and --credentials"
    )]
    Twice,
    /// One of the two is missing.
    #[error("--client-certificate and --client-key go together: give both or none")]
    Pair,
}

/// Whether the flags fit the target.
///
/// # Errors
/// With every flag that is missing, or every one that is too many.
pub(crate) fn check(cli: &Cli) -> Result<(), FlagError> {
    let target = cli.target.name();
    let at = &cli.attach;
    let attached = [
        ("--kms-url", at.kms_url.is_some()),
        ("--identity-url", at.identity_url.is_some()),
        ("--ca", at.ca.is_some()),
        ("--credentials", at.credentials.is_some()),
    ];
    let certificate =
        [("--client-certificate", at.client_certificate.is_some()), ("--client-key", at.client_key.is_some())];
    let admin =
        [("--kms-admin-url", at.kms_admin_url.is_some()), ("--identity-admin-url", at.identity_admin_url.is_some())];
    let namespace = [("--namespace", at.namespace.is_some())];
    let environment = [("--demo-environment", at.demo_environment.is_some())];
    // Without any of these a DemoEnvironment says where the servers are.
    let told = attached.iter().all(|(_, is)| !is);
    let cluster = [("--kubeconfig", at.kubeconfig.is_some()), ("--context", at.context.is_some())];
    let embedded = [
        ("--data-dir", cli.data_dir.is_some()),
        ("--reset-demo", cli.reset_demo),
        ("--demo-password", cli.demo_password),
        ("--keep", cli.keep),
        ("--on-partial cleanup", cli.on_partial == OnPartial::Cleanup),
        ("--kms-port", cli.kms_port.is_some()),
        ("--identity-port", cli.identity_port.is_some()),
    ];
    type Flags<'a> = &'a [(&'static str, bool)];
    let (needed, refused): (&[Flags<'_>], &[Flags<'_>]) = match cli.target {
        Target::Embedded => (&[], &[&attached, &certificate, &admin, &namespace, &environment, &cluster]),
        Target::Urls => (&[&attached], &[&embedded, &namespace, &environment, &cluster]),
        Target::Kubernetes if told => (&[&namespace], &[&embedded, &admin]),
        Target::Kubernetes if environment.iter().any(|(_, is)| *is) => return Err(FlagError::Twice),
        Target::Kubernetes => (&[&attached, &namespace], &[&embedded, &admin]),
    };
    let names = |groups: &[Flags<'_>], given: bool| -> Vec<&'static str> {
        groups.iter().copied().flatten().filter(|(_, is)| *is == given).map(|(name, _)| *name).collect()
    };
    let (missing, refused) = (names(needed, false), names(refused, true));
    if !refused.is_empty() {
        return Err(FlagError::Refused { target, flags: refused });
    }
    if !missing.is_empty() {
        return Err(FlagError::Missing { target, flags: missing });
    }
    // Not by clap's `requires`: it does not see a folder that stands on the other side of the command.
    let kept = [("--reset-demo", cli.reset_demo), ("--on-partial cleanup", cli.on_partial == OnPartial::Cleanup)];
    let kept = names(&[&kept], true);
    if cli.data_dir.is_none() && !kept.is_empty() {
        return Err(FlagError::Temporary { flags: kept });
    }
    if at.client_certificate.is_some() != at.client_key.is_some() {
        return Err(FlagError::Pair);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn complaint(args: &[&str]) -> String {
        let cli = Cli::parse_from([&["demo", "all"], args].concat());
        check(&cli).err().map(|error| error.to_string()).unwrap_or_default()
    }

    const URLS: [&str; 8] =
        ["--kms-url", "https://k", "--identity-url", "https://i", "--ca", "ca.pem", "--credentials", "c.json"];

    #[test]
    fn each_target_has_its_flags() {
        assert_eq!(complaint(&[]), "");
        assert_eq!(complaint(&["--keep", "--data-dir", "d"]), "");
        assert_eq!(complaint(&[&["--target", "urls"], &URLS[..]].concat()), "");
        let cluster = [&["--target", "kubernetes", "--namespace", "n"], &URLS[..]].concat();
        assert_eq!(complaint(&cluster), "");
        let told = ["--target", "kubernetes", "--namespace", "n", "--demo-environment", "d"];
        assert_eq!([complaint(&told), complaint(&told[..4])], ["", ""]);
        assert_eq!(complaint(&told[..2]), "--target kubernetes needs --namespace");
        assert!(complaint(&[&cluster[..], &told[4..]].concat()).contains("leave out --kms-url"));
        assert_eq!(complaint(&told[4..]), "--demo-environment cannot be used with --target embedded");
        assert_eq!(complaint(&[&cluster[..], &["--client-certificate", "c", "--client-key", "k"]].concat()), "");
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let target = |name: &'static str, args: &[&'static str]| complaint(&[&["--target", name], args].concat());
        assert_eq!(
            target("kubernetes", &["--ca", "ca.pem"]),
            "--target kubernetes needs --kms-url, --identity-url, --credentials, --namespace"
        );
        assert_eq!(
            target("urls", &["--data-dir", "d", "--namespace", "n", "--on-partial", "cleanup"]),
            "--data-dir, --on-partial cleanup, --namespace cannot be used with --target urls"
        );
        assert_eq!(
            complaint(&["--context", "c", "--ca", "f"]),
            "--ca, --context cannot be used with --target embedded"
        );
        assert_eq!(
            complaint(&["--reset-demo", "--on-partial", "cleanup"]),
            "--reset-demo, --on-partial cleanup needs --data-dir: without it nothing is kept"
        );
        let cli = Cli::parse_from(["demo", "--data-dir", "d", "all", "--reset-demo", "--on-partial", "cleanup"]);
        assert_eq!(check(&cli), Ok(()), "wherever they stand");
        let one = [&["--client-key", "k"], &URLS[..]].concat();
        assert!(target("urls", &one).contains("--client-certificate"));
    }
}
