//! The servers themselves.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use keyrealm_http::client::Answer;
use serde_json::Value;

use super::{Facts, World};
use crate::endpoints::Admin;

const POLL: Duration = Duration::from_secs(1);

/// Both admin listeners say ready: bare without a certificate, with details for an operator, where one is given.
pub(super) async fn health(world: &mut World<'_>) -> Facts {
    let began = Instant::now();
    let mut facts = Vec::new();
    for admin in world.at.admin.clone() {
        let Admin { name, url, plain, operator } = admin;
        let url = url.join("/readyz")?;
        let bare = loop {
            match plain.get(&url).await {
                Ok(answer) if answer.status == 200 => break answer,
                other if began.elapsed() >= world.health_timeout => return not_ready(name, other),
                _ => {
                    let left = world.health_timeout.saturating_sub(began.elapsed());
                    tokio::time::sleep(POLL.min(left)).await;
                }
            }
        };
        ensure!(bare.body.is_empty(), "{name} tells details to a caller without a certificate");
        let mut seen = "TLS 1.3, chain verified";
        if let Some(operator) = operator {
            let answer = operator.get(&url).await?;
            let body = answer.json();
            ensure!(answer.status == 200, "{name} answers an operator {}: {body}", answer.status);
            ensure!(body.get("ready") == Some(&Value::Bool(true)), "{name} answers 200 and is not ready: {body}");
            seen = "TLS 1.3, chain verified, details for the operator's certificate alone";
        }
        facts.push(format!("{name}: ready, {seen}"));
    }
    Ok(facts)
}

fn not_ready(name: &str, last: Result<Answer>) -> Facts {
    match last {
        Ok(answer) => bail!("{name} is not ready in time: it answers {}", answer.status),
        Err(error) => Err(error.context(format!("{name} is not ready in time"))),
    }
}
