//! The measurements.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use keyrealm_auth::{BearerVerifier, JwksCache, JwksTimes, RevocationList, TrustedIssuer};
use keyrealm_base::{SharedClock, SystemClock};
use keyrealm_crypto::sign::ES256;
use serde_json::{Value, json};

use crate::load::{Call, median, rate};
use crate::report::{Measured, Target};
use crate::world::{World, binary, build};

/// How much to measure.
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) connections: usize,
}

/// Everything, in order.
pub(crate) async fn all(plan: &Plan) -> Result<Vec<Measured>> {
    build()?;
    let world = World::start().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut results =
        vec![memory("KMS, idle", world.kms.memory()?, 40.0), memory("Identity, idle", world.identity.memory()?, 35.0)];
    // 64 bytes, as base64url.
    let text = "A".repeat(86);
    for (name, algorithm, operation, body) in [
        ("ES256 sign / empty handler", "ES256", "sign", json!({"payload": text})),
        ("A256GCM encrypt / empty handler", "A256GCM/dir", "encrypt", json!({"plaintext": text})),
    ] {
        let call = world.operation(algorithm, operation, &body).await?;
        results.push(against_empty(plan, &world, name, &call, &world.empty(&body)?).await?);
    }
    results.push(token_check(&world).await?);
    results.push(client_credentials(plan, &world).await?);
    drop(world);
    results.push(demo()?);
    Ok(results)
}

fn memory(name: &'static str, value: f64, most: f64) -> Measured {
    Measured { name, value, unit: "MB", target: Target::AtMost(most), detail: String::new() }
}

async fn against_empty(plan: &Plan, world: &World, name: &'static str, call: &Call, empty: &Call) -> Result<Measured> {
    let (clients, time) = (world.clients(plan.connections), Duration::from_secs(plan.seconds));
    // Connections are opened and keys are parsed outside of the measurement.
    rate(call, &clients, Duration::from_millis(300)).await?;
    rate(empty, &clients, Duration::from_millis(300)).await?;
    let (mut ratios, mut rates, mut empties) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let (with, without) = (rate(call, &clients, time).await?, rate(empty, &clients, time).await?);
        ratios.push(with / without);
        rates.push(with);
        empties.push(without);
    }
    let detail = format!("{:.0}/s against {:.0}/s", median(rates), median(empties));
    Ok(Measured { name, value: median(ratios), unit: "", target: Target::AtLeast(0.7), detail })
}

/// What the check of a token that was seen before adds to a call.
async fn token_check(world: &World) -> Result<Measured> {
    let clock: SharedClock = Arc::new(SystemClock);
    let client = world.tls.client();
    let keys = JwksCache::new(world.issuer.jwks_url.clone(), client, JwksTimes::default(), Arc::clone(&clock));
    let revocations = Arc::new(RevocationList::new(Duration::from_secs(86_400)));
    revocations.replace([], clock.now());
    let issuers = vec![TrustedIssuer { issuer: world.issuer.issuer.clone(), keys }];
    let verifier = BearerVerifier::new(issuers, world.audience.to_owned(), revocations, clock);
    verifier.verify(&world.token).await?;
    let mut times = Vec::new();
    for _ in 0..50_000 {
        let began = Instant::now();
        std::hint::black_box(verifier.verify(&world.token).await?);
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let name = "token check, cached, median";
    Ok(Measured { name, value: median(times), unit: "us", target: Target::AtMost(20.0), detail: String::new() })
}

/// Tokens a second of server time against signatures a second of one core.
async fn client_credentials(plan: &Plan, world: &World) -> Result<Measured> {
    let (clients, time) = (world.clients(plan.connections), Duration::from_secs(plan.seconds));
    let call = world.client_credentials()?;
    rate(&call, &clients, Duration::from_millis(300)).await?;
    let (mut ratios, mut rates, mut raws) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let (cpu, began) = (world.identity.cpu()?, Instant::now());
        let tokens = rate(&call, &clients, time).await?;
        let cores = (world.identity.cpu()? - cpu) / began.elapsed().as_secs_f64();
        let raw = raw_signatures()?;
        ratios.push(tokens / cores / raw);
        rates.push(tokens / cores);
        raws.push(raw);
    }
    let detail = format!("{:.0} a core second against {:.0} signatures", median(rates), median(raws));
    let target = Target::AtLeast(0.25);
    Ok(Measured { name: "client_credentials / raw ES256, per core", value: median(ratios), unit: "", target, detail })
}

/// ES256 signatures a second of one core, with the same library and key form as the servers.
fn raw_signatures() -> Result<f64> {
    let signer = ES256.signer(&ES256.generate()?)?;
    let (began, mut count) = (Instant::now(), 0.0);
    while began.elapsed() < Duration::from_secs(1) {
        for _ in 0..100 {
            std::hint::black_box(signer.sign(std::hint::black_box(&[7; 500]))?);
        }
        count += 100.0;
    }
    Ok(count / began.elapsed().as_secs_f64())
}

/// The whole demo, as a newcomer runs it the second time.
fn demo() -> Result<Measured> {
    let program = binary("demo")?;
    let mut times = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let output = Command::new(&program).args(["all", "--output", "json"]).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            bail!("the demo ended with {}", output.status);
        }
        times.push(began.elapsed().as_secs_f64());
        let _: Value = serde_json::from_slice(&output.stdout).context("the demo's JSON")?;
    }
    Ok(Measured {
        name: "demo all, warm",
        value: median(times),
        unit: "s",
        target: Target::AtMost(3.0),
        detail: String::new(),
    })
}
