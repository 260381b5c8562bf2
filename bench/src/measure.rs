//! The measurements.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use keyrealm_auth::{BearerVerifier, JwksCache, JwksTimes, RevocationList, TrustedIssuer};
use keyrealm_base::{SharedClock, SystemClock};
use keyrealm_crypto::sign::ES256;
use keyrealm_http::client::HttpsClient;
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
    build(&["kms", "identity", "demo"], false)?;
    let world = World::start().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut results =
        vec![memory("KMS, idle", world.kms.memory()?, 40.0), memory("Identity, idle", world.identity.memory()?, 35.0)];
    // 64 bytes, as base64url.
    let text = "A".repeat(86);
    let payload = json!({"payload": text});
    let sign = world.operation("ES256", "sign", &payload).await?;
    let (one, many) = against_empty(plan, &world, &sign, &world.empty(&payload)?).await?;
    results.push(one.measured("ES256 sign / empty handler, one connection", SHARE_OF_EMPTY));
    results.push(many.measured("ES256 sign / empty handler, all connections", SHARE_OF_EMPTY));
    let raw = raw_signatures(std::thread::available_parallelism()?.get())?;
    results.push(many.serial("ES256 sign / handler and signature in a row", raw));
    let plaintext = json!({"plaintext": text});
    for (algorithm, on_one, on_all) in ENCRYPTIONS {
        let encrypt = world.operation(algorithm, "encrypt", &plaintext).await?;
        let (one, many) = against_empty(plan, &world, &encrypt, &world.empty(&plaintext)?).await?;
        results.push(one.measured(on_one, SHARE_OF_EMPTY));
        results.push(many.measured(on_all, SHARE_OF_EMPTY));
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

/// The algorithms that encrypt, and the names of what is measured of each.
const ENCRYPTIONS: [(&str, &str, &str); 2] = [
    (
        "A256GCM/dir",
        "A256GCM/dir encrypt / empty handler, one connection",
        "A256GCM/dir encrypt / empty handler, all connections",
    ),
    (
        "A256GCM/A256KW",
        "A256GCM/A256KW encrypt / empty handler, one connection",
        "A256GCM/A256KW encrypt / empty handler, all connections",
    ),
];

const SHARE_OF_EMPTY: Target = Target::AtLeast(0.7);

/// A call against the empty handler: medians over the rounds.
struct Comparison {
    ratio: f64,
    with: f64,
    without: f64,
}

impl Comparison {
    fn measured(&self, name: &'static str, target: Target) -> Measured {
        let detail = format!("{:.0}/s against {:.0}/s", self.with, self.without);
        Measured { name, value: self.ratio, unit: "", target, detail }
    }

    /// Against what is left when every request costs what the empty one does, and then the bare operation: client, server
    /// and operation share the cores here, so that a fast handler makes any operation look slow beside it.
    fn serial(&self, name: &'static str, raw: f64) -> Measured {
        let model = 1.0 / (1.0 / self.without + 1.0 / raw);
        let detail = format!("{:.0}/s against {model:.0}/s; {raw:.0} bare ones/s on all cores", self.with);
        Measured { name, value: self.with / model, unit: "", target: Target::AtLeast(0.85), detail }
    }
}

/// On one connection, where it is the time of one request, and on all.
async fn against_empty(plan: &Plan, world: &World, call: &Call, empty: &Call) -> Result<(Comparison, Comparison)> {
    let one = compare(plan, &world.clients(1), call, empty).await?;
    Ok((one, compare(plan, &world.clients(plan.connections), call, empty).await?))
}

async fn compare(plan: &Plan, clients: &[HttpsClient], call: &Call, empty: &Call) -> Result<Comparison> {
    let time = Duration::from_secs(plan.seconds);
    // Connections are opened and keys are parsed outside of the measurement.
    rate(call, clients, Duration::from_millis(300)).await?;
    rate(empty, clients, Duration::from_millis(300)).await?;
    let (mut ratios, mut rates, mut empties) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        // Each is the first one in half of the rounds: what warms up or slows down over a round hits both.
        let (with, without) = if round % 2 == 0 {
            let with = rate(call, clients, time).await?;
            (with, rate(empty, clients, time).await?)
        } else {
            let without = rate(empty, clients, time).await?;
            (rate(call, clients, time).await?, without)
        };
        ratios.push(with / without);
        rates.push(with);
        empties.push(without);
    }
    Ok(Comparison { ratio: median(ratios), with: median(rates), without: median(empties) })
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
        let raw = raw_signatures(1)?;
        ratios.push(tokens / cores / raw);
        rates.push(tokens / cores);
        raws.push(raw);
    }
    let detail = format!("{:.0} a core second against {:.0} signatures", median(rates), median(raws));
    let target = Target::AtLeast(0.25);
    Ok(Measured { name: "client_credentials / raw ES256, per core", value: median(ratios), unit: "", target, detail })
}

/// ES256 signatures a second of so many threads, with the same library and key form as the servers.
fn raw_signatures(threads: usize) -> Result<f64> {
    let workers: Vec<_> = (0..threads).map(|_| std::thread::spawn(signatures_of_one_thread)).collect();
    let mut total = 0.0;
    for worker in workers {
        total += worker.join().map_err(|_| anyhow!("a signing thread panicked"))??;
    }
    Ok(total)
}

fn signatures_of_one_thread() -> Result<f64> {
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
