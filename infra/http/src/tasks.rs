//! The tasks that a server runs beside its requests. None of them ends by itself: one that does takes the process with it.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};

use crate::{Check, Health};

/// Tasks with names. They end when this is dropped.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts one.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until one ends; the answer says which, and why. The server is unready from then on.
    pub async fn failed(&mut self, health: &Health) -> String {
        let (id, reason) = match self.set.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, "ended".to_owned()),
            Some(Err(error)) => (error.id(), why(error)),
            None => std::future::pending().await,
        };
        let failed = format!("the task `{}` {reason}", self.names.get(&id).copied().unwrap_or("?"));
        tracing::error!(failed, "the server cannot go on");
        health.set("tasks", Check::Failed(failed.clone()));
        failed
    }

    /// Stops them all.
    pub async fn shutdown(mut self) {
        self.set.shutdown().await;
    }
}

fn why(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            format!("panicked: {}", text.unwrap_or_default())
        }
        Err(_) => "was stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_that_ends_is_named() {
        let (mut tasks, health) = (Tasks::default(), Health::default());
        tasks.spawn("endless", std::future::pending());
        tasks.spawn("short", async { panic!("on purpose") });
        assert_eq!(tasks.failed(&health).await, "the task `short` panicked: on purpose");
        tasks.spawn("done", async {});
        assert_eq!(tasks.failed(&health).await, "the task `done` ended");
        tasks.shutdown().await;
    }
}
