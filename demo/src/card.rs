//! The card at the end: where everything is, who may log in, and three commands to paste.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::endpoints::{Endpoints, Files};

/// The commands, with what each shows.
pub(crate) fn commands(at: &Endpoints) -> [(&'static str, String); 3] {
    let curl = format!("curl --silent --cacert '{}'{}", at.ca.display(), at.shell.curl);
    let secret = at.credentials.secret("demo-service-client");
    let issuer = at.issuer.as_str().trim_end_matches('/');
    let kms = at.kms.as_str().trim_end_matches('/');
    let web = at.credentials.secret("demo-confidential-client");
    [
        ("the issuer's metadata", format!("{curl} {issuer}/.well-known/openid-configuration")),
        (
            "an access token",
            format!(
                "{curl} --user 'demo-service-client:{secret}' --data grant_type=client_credentials {issuer}/oauth2/v1/token"
            ),
        ),
        (
            "the tenant's keys",
            format!(
                "{curl} --header \"Authorization: Bearer $({curl} --user 'demo-confidential-client:{web}' --data grant_type=client_credentials {issuer}/oauth2/v1/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\" {kms}/api/v1/keys"
            ),
        ),
    ]
}

/// The card as JSON.
pub(crate) fn json(at: &Endpoints) -> Value {
    let commands: Vec<Value> =
        commands(at).iter().map(|(what, line)| json!({"shows": what, "command": line})).collect();
    let mut card = json!({
        "issuer": at.issuer.as_str().trim_end_matches('/'),
        "kms": at.kms.as_str().trim_end_matches('/'),
        "admin": at.admin.iter().map(|admin| admin.url.as_str().trim_end_matches('/')).collect::<Vec<_>>(),
        "ca_bundle": at.ca,
        "users": at.credentials.users,
        "clients": at.credentials.clients,
        "commands": commands,
    });
    if let Some(card) = card.as_object_mut() {
        match &at.files {
            Files::Folder(folder) => card.insert("folder".to_owned(), json!(folder)),
            Files::Credentials(file) => card.insert("credentials_file".to_owned(), json!(file)),
            #[cfg(feature = "kubernetes")]
            Files::Secret(secret) => card.insert("credentials_secret".to_owned(), json!(secret)),
        };
        if !at.shell.once.is_empty() {
            card.insert("run_once".to_owned(), json!(at.shell.once));
        }
        if !at.shell.first.is_empty() {
            card.insert("run_meanwhile".to_owned(), json!(at.shell.first));
        }
    }
    card
}

/// The card as text.
pub(crate) fn text(at: &Endpoints) -> String {
    let mut card = String::new();
    let mut line = |text: String| {
        let _ = writeln!(card, "{text}");
    };
    line(format!("  Identity   {}", at.issuer.as_str().trim_end_matches('/')));
    line(format!("  KMS        {}", at.kms.as_str().trim_end_matches('/')));
    line(format!("  CA bundle  {}", at.ca.display()));
    match &at.files {
        Files::Folder(folder) => line(format!("  Files      {}", folder.display())),
        Files::Credentials(file) => line(format!("  Log-ins    {}", file.display())),
        #[cfg(feature = "kubernetes")]
        Files::Secret(secret) => line(format!("  Log-ins    {secret}")),
    }
    line(String::new());
    line("  Users".to_owned());
    for user in &at.credentials.users {
        line(format!("    {:<8} {:<34} {}", user.tenant, user.username, user.password));
    }
    line("  Clients".to_owned());
    for client in &at.credentials.clients {
        let secret = if client.secret.is_empty() { "(public, PKCE)" } else { &client.secret };
        line(format!("    {:<8} {:<34} {secret}", client.tenant, client.client_id));
    }
    line(String::new());
    if !at.shell.once.is_empty() {
        line("  To run once, for the commands below".to_owned());
        for command in &at.shell.once {
            line(format!("    {command}"));
        }
        line(String::new());
    }
    if !at.shell.first.is_empty() {
        line("  To run meanwhile, each in a terminal of its own (for browsers, too)".to_owned());
        for command in &at.shell.first {
            line(format!("    {command}"));
        }
        line(String::new());
    }
    line("  To paste".to_owned());
    for (what, command) in commands(at) {
        line(format!("    # {what}"));
        line(format!("    {command}"));
    }
    card
}
