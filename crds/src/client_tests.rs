use super::*;

/// A kubeconfig whose cluster and user are as given, in a file.
fn kubeconfig(folder: &tempfile::TempDir, cluster: &str, user: &str) -> Access {
    let text = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{{"name": "k", "cluster": {{{cluster}}}}}], "users": [{{"name": "u", "user": {{{user}}}}}],
            "contexts": [{{"name": "c", "context": {{"cluster": "k", "user": "u"}}}}]}}"#
    );
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, text).unwrap();
    Access { kubeconfig: Some(path), ..Access::default() }
}

async fn connect(access: &Access) -> Result<Client> {
    ApiServer::find(access).await?.client(Retry::None)
}

async fn complaint(cluster: &str, user: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    format!("{:#}", connect(&kubeconfig(&folder, cluster, user)).await.err().unwrap())
}

#[tokio::test]
async fn a_cluster_that_cannot_be_verified_is_refused() {
    let text = complaint(r#""server": "https://k:6443", "insecure-skip-tls-verify": true"#, "").await;
    assert!(text.contains("https://k:6443") && text.contains("insecure-skip-tls-verify"), "{text}");
    let text = complaint(r#""server": "https://k:6443""#, "").await;
    assert!(text.contains("names no CA"), "{text}");
    let text = complaint(r#""server": "http://k:8080""#, "").await;
    assert!(text.contains("no https server"), "{text}");
    let text = complaint(r#""server": "https://k", "proxy-url": "http://p""#, "").await;
    assert!(text.contains("proxy-url"), "{text}");
}

#[tokio::test]
async fn a_missing_file_or_context_is_named() {
    let access = Access { kubeconfig: Some("/nowhere/kubeconfig".into()), ..Access::default() };
    let text = format!("{:#}", connect(&access).await.err().unwrap());
    assert!(text.contains("--kubeconfig /nowhere/kubeconfig"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let mut access = kubeconfig(&folder, r#""server": "https://k""#, "");
    access.context = Some("other".to_owned());
    let text = format!("{:#}", connect(&access).await.err().unwrap());
    assert!(text.contains("other"), "{text}");
}

#[test]
fn a_program_names_itself_and_its_version() {
    let name = |program: &str| user_agent(Some(OsStr::new(program))).unwrap().to_str().unwrap().to_owned();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(name("/usr/bin/operator"), format!("keyrealm-operator/{version}"));
    for odd in ["", "/", "a b", "x\r\ny", "\u{e9}"] {
        assert_eq!(name(odd), format!("keyrealm-client/{version}"), "{odd:?}");
    }
}
