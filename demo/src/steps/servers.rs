//! The servers themselves.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use http::Method;
use serde_json::Value;

use super::{Facts, World};

const POLL: Duration = Duration::from_secs(1);

/// Both admin listeners say ready: bare without a certificate, with details for an operator.
pub(super) async fn health(world: &mut World<'_>) -> Facts {
    let began = Instant::now();
    let mut facts = Vec::new();
    for (name, admin) in world.at.admin.clone() {
        let url = admin.join("/readyz")?;
        loop {
            match world.at.operator.get(&url).await {
                Ok(answer) if answer.status == 200 => {
                    world.note(&Method::GET, &url, &answer);
                    let body = answer.json();
                    ensure!(
                        body.get("ready") == Some(&Value::Bool(true)),
                        "{name} answers 200 and is not ready: {body}"
                    );
                    break;
                }
                other if began.elapsed() >= world.health_timeout => return not_ready(name, other),
                _ => tokio::time::sleep(POLL).await,
            }
        }
        let bare = world.get(&url).await?;
        ensure!(bare.status == 200 && bare.body.is_empty(), "{name} tells details to a caller without a certificate");
        facts.push(format!("{name}: ready, TLS 1.3, chain verified"));
    }
    Ok(facts)
}

fn not_ready(name: &str, last: Result<keyrealm_http::client::Answer, keyrealm_http::client::ClientError>) -> Facts {
    match last {
        Ok(answer) => bail!("{name} is not ready in time: it answers {}", answer.status),
        Err(error) => Err(anyhow::Error::new(error).context(format!("{name} is not ready in time"))),
    }
}
