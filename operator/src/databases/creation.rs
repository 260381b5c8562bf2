//! Tenants that are asked for at the same time are made together: see [`Registrar::create_tenants`].

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use keyrealm_registry::{Created, NewTenant, Registrar, RegistryError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::view::ANSWER;

/// As many at once, and as many wait.
const TOGETHER: usize = 32;
/// For so long others may join the first one.
const GATHER: Duration = Duration::from_millis(25);

/// What was asked for, and who waits for it.
struct Request {
    new: NewTenant,
    answer: oneshot::Sender<Result<Created, RegistryError>>,
}

/// Where to ask for a tenant.
pub(super) struct Creation(mpsc::Sender<Request>);

impl Creation {
    /// Asks for one. `None` when the database was silent, or is closed.
    pub(super) async fn create(&self, new: NewTenant) -> Option<Result<Created, RegistryError>> {
        let (answer, told) = oneshot::channel();
        self.0.send(Request { new, answer }).await.ok()?;
        told.await.ok()
    }
}

/// Makes what is asked for until nobody can ask any more; who asked for something that panics is not answered.
pub(super) fn start(registrar: Registrar) -> (Creation, JoinHandle<()>) {
    let (ask, mut asked) = mpsc::channel(TOGETHER);
    let task = tokio::spawn(async move {
        loop {
            let ended = AssertUnwindSafe(make_all(&registrar, &mut asked)).catch_unwind().await;
            if ended.is_ok() {
                return;
            }
            tracing::error!("the task that makes tenants panicked and is begun again");
        }
    });
    (Creation(ask), task)
}

async fn make_all(registrar: &Registrar, asked: &mut mpsc::Receiver<Request>) {
    let mut requests = Vec::with_capacity(TOGETHER);
    while let Some(first) = asked.recv().await {
        requests.push(first);
        tokio::time::sleep(GATHER).await;
        while requests.len() < TOGETHER
            && let Ok(more) = asked.try_recv()
        {
            requests.push(more);
        }
        requests.retain(|request| !request.answer.is_closed());
        make(registrar, &mut requests).await;
    }
}

/// When they cannot be made together each is made alone, so that it has its own answer.
async fn make(registrar: &Registrar, requests: &mut Vec<Request>) {
    let new: Vec<NewTenant> = requests.iter().map(|request| request.new.clone()).collect();
    match tokio::time::timeout(ANSWER, registrar.create_tenants(&new)).await {
        Ok(Ok(created)) => {
            for (request, created) in requests.drain(..).zip(created) {
                let _ = request.answer.send(Ok(created));
            }
        }
        Ok(Err(error)) if requests.len() == 1 => {
            if let Some(request) = requests.pop() {
                let _ = request.answer.send(Err(error));
            }
        }
        Ok(Err(_)) => {
            for request in requests.drain(..) {
                match tokio::time::timeout(ANSWER, registrar.create_tenant(&request.new)).await {
                    Ok(done) => drop(request.answer.send(done)),
                    Err(_) => return,
                }
            }
        }
        // Nobody is answered: all of them ask again.
        Err(_) => requests.clear(),
    }
}
