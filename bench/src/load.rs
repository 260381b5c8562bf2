//! Load: so many connections, each with one request at a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::{HeaderName, Method};
use keyrealm_http::client::{Answer, HttpsClient};
use tokio::task::JoinSet;
use url::Url;

/// A request that is repeated.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: String,
}

impl Call {
    /// Sends it and reads the answer, which must be a success; what it says is left to who wants to know.
    pub(crate) async fn send(&self, client: &HttpsClient) -> Result<Answer> {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
        let answer = client.send(Method::POST, &self.url, &headers, self.body.clone().into()).await?;
        if !answer.status.is_success() {
            bail!("{}: {} {}", self.url, answer.status, answer.text());
        }
        Ok(answer)
    }
}

/// Answers a second over the given time.
pub(crate) async fn rate(call: &Call, clients: &[HttpsClient], time: Duration) -> Result<f64> {
    let mut set = JoinSet::new();
    let began = Instant::now();
    for client in clients {
        let (call, client) = (call.clone(), client.clone());
        set.spawn(async move {
            let mut count = 0_u32;
            while began.elapsed() < time {
                call.send(&client).await?;
                count += 1;
            }
            Ok::<_, anyhow::Error>(count)
        });
    }
    let mut total = 0.0;
    while let Some(count) = set.join_next().await {
        total += f64::from(count.context("a connection's task")??);
    }
    Ok(total / began.elapsed().as_secs_f64())
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
