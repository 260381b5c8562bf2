//! The API server goes and comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kube::api::{Api, DeleteParams};
use kube::config::Kubeconfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Operator, Place, kubeconfig, until};

/// The way to the API server. It is gone while this is dropped: connections are cut, new ones refused.
struct Way {
    port: u16,
    task: JoinHandle<()>,
}

impl Way {
    async fn open(port: u16, server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                open.spawn(async move {
                    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
                    if let Ok(mut server) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, task }
    }

    async fn close(self) -> u16 {
        self.task.abort();
        let _ = self.task.await;
        self.port
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_come_back_after_the_api_server_was_away_and_what_went_meanwhile_is_seen() {
    let place = Place::new().await;
    place.tenant("one").await;
    let mut kubeconfig = Kubeconfig::read_from(kubeconfig()).unwrap();
    let cluster = kubeconfig.clusters[0].cluster.as_mut().unwrap();
    let url: url::Url = cluster.server.as_ref().unwrap().parse().unwrap();
    let way = Way::open(0, url.port().unwrap()).await;
    cluster.server = Some(format!("https://127.0.0.1:{}", way.port));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, serde_json::to_string(&kubeconfig).unwrap()).unwrap();
    let mut settings = place.settings();
    settings.kubeconfig = Some(path);
    // Longer than the outage: a leader that hears nothing for its term ends, as it must.
    (settings.lease.duration_seconds, settings.lease.renew_seconds) = (60, 50);
    let mut operator = Operator::start(&settings, "only");
    until("it works", Duration::from_secs(30), async || place.data("one").await.is_some()).await;
    let port = way.close().await;
    // Deleted while nobody looks.
    place.config_maps().delete("one", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(operator.has_ended().is_none(), "{}", operator.text());
    let _way = Way::open(port, url.port().unwrap()).await;
    until("the ConfigMap is back", Duration::from_secs(45), async || place.data("one").await.is_some()).await;
    place.tenant("two").await;
    until("watches work", Duration::from_secs(45), async || place.data("two").await.is_some()).await;
    assert!(operator.has_ended().is_none(), "no crash: {}", operator.text());
    Api::<crds::Tenant>::namespaced(place.client.clone(), &place.namespace)
        .delete("two", &DeleteParams::default())
        .await
        .unwrap();
    place.end().await;
}
