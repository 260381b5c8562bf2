//! Port-forwards: a listener on this machine, and for each connection a way of its own to a ready pod.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, Portforwarder};
use tokio::io::{DuplexStream, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::CALL;
use super::resolve::{Route, pod_name};
use crate::endpoints::Notes;

/// Connections at once; more wait.
const CONNECTIONS: usize = 32;
/// Pods that are looked at.
const PODS: u32 = 100;
/// How long the end of a forward may take to say what was wrong.
const FAREWELL: Duration = Duration::from_secs(1);
/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener whose connections end in a pod; it closes when dropped, and they with it.
pub(super) struct Forward {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Way {
    pods: Api<Pod>,
    route: Route,
    complaints: Notes,
    /// The pod whose forward failed last: it is taken when there is no other.
    failed: Mutex<String>,
}

impl Forward {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn listen(client: Client, route: Route, complaints: Notes) -> Result<Self> {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1 for a port-forward")?;
        let address = listener.local_addr()?;
        let pods = Api::namespaced(client, &route.namespace);
        let way = Arc::new(Way { pods, route, complaints, failed: Mutex::default() });
        Ok(Self { address, task: tokio::spawn(accept(listener, way)) })
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Ends its tasks when dropped.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, _)) => {
                let way = Arc::clone(&way);
                connections.spawn(async move {
                    way.carry(tcp).await;
                    drop(place);
                });
            }
            Err(error) => {
                way.complaints.say(format!("port-forward: cannot accept a connection: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Way {
    /// Carries one connection to its end. Whoever waits at it sees it closed; why is a complaint.
    async fn carry(&self, tcp: TcpStream) {
        let complain = |error: anyhow::Error| {
            self.complaints.say(format!("port-forward to Service {}: {error:#}", self.route.service));
        };
        match self.open().await {
            Ok(open) => {
                let pod = open.pod.clone();
                if let Err(error) = open.pump(tcp).await {
                    self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&pod);
                    complain(error.context(format!("pod {pod}")));
                }
            }
            Err(error) => complain(error),
        }
    }

    /// A forward to the first ready pod that takes one.
    async fn open(&self) -> Result<Open> {
        let wanted = ListParams::default().labels(&self.route.selector).limit(PODS);
        let listed = tokio::time::timeout(CALL, self.pods.list(&wanted))
            .await
            .with_context(|| format!("the pods are not listed within {} s", CALL.as_secs()))?
            .context("the pods cannot be listed")?;
        let mut ready = self.route.ready(&listed.items)?;
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ready.sort_by_key(|pod| pod_name(pod) == failed);
        let mut reasons = Vec::new();
        for pod in ready {
            match self.forward(pod).await {
                Ok(open) => return Ok(open),
                Err(error) => reasons.push(format!("pod {}: {error:#}", pod_name(pod))),
            }
        }
        bail!("{}", reasons.join("; "))
    }

    async fn forward(&self, pod: &Pod) -> Result<Open> {
        let port = self.route.port_in(pod)?;
        let mut forwarder = tokio::time::timeout(CALL, self.pods.portforward(pod_name(pod), &[port]))
            .await
            .with_context(|| format!("the API server gives no port-forward within {} s", CALL.as_secs()))?
            .context("the API server gives no port-forward")?;
        let stream = forwarder.take_stream(port).context("the port-forward has no stream")?;
        Ok(Open { pod: pod_name(pod).to_owned(), port, forwarder, stream })
    }
}

/// An open forward.
struct Open {
    pod: String,
    port: u16,
    forwarder: Portforwarder,
    stream: DuplexStream,
}

/// Who ended a connection.
enum End {
    Caller,
    Pod,
}

impl Open {
    /// Carries bytes both ways until one side ends. What the caller's end brings with it (a reset, say) is nothing to
    /// complain of.
    async fn pump(mut self, tcp: TcpStream) -> Result<()> {
        let Some(reported) = self.forwarder.take_error(self.port) else { bail!("the port-forward tells no errors") };
        let mut reported = std::pin::pin!(reported);
        let mut report = None;
        let end = {
            let (mut from_caller, mut to_caller) = tcp.into_split();
            let (mut from_pod, mut to_pod) = split(self.stream);
            let told = async {
                let message = reported.as_mut().await;
                let bad = message.is_some();
                report = Some(message);
                if !bad {
                    // Over in good order: its last bytes may still be on their way.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = told => End::Pod,
                _ = copy(&mut from_pod, &mut to_caller) => End::Pod,
                _ = copy(&mut from_caller, &mut to_pod) => End::Caller,
            }
        };
        // A report may come after the end of the bytes.
        let report = match report {
            Some(report) => Ok(report),
            None => tokio::time::timeout(FAREWELL, reported).await,
        };
        match (report, end) {
            (Ok(Some(message)), _) => {
                self.forwarder.abort();
                bail!("port {}: {}", self.port, message.trim())
            }
            (Ok(None), End::Pod) => self.forwarder.join().await.context("the port-forward broke"),
            (Ok(None), End::Caller) => Ok(()),
            (Err(_), _) => {
                self.forwarder.abort();
                Ok(())
            }
        }
    }
}
