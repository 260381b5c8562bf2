//! One connection, kept, whose certificate is looked at.

use std::net::IpAddr;
use std::sync::Arc;

use keyrealm_base::{Clock, SystemClock};
use keyrealm_tls::{TrustBundle, client_config};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::realm::{Realm, container_port, host};

/// An HTTP/1.1 connection to one pod.
pub(crate) struct Connection {
    stream: BufReader<TlsStream<TcpStream>>,
    host: String,
    /// The certificate that was shown.
    pub(crate) leaf: Vec<u8>,
}

impl Connection {
    /// Connects to a pod by its own address, under the product's name.
    pub(crate) async fn open(realm: &Realm, product: &str, address: IpAddr) -> Self {
        let trust = TrustBundle::from_file(&realm.file("ca.pem"), SystemClock.now()).unwrap();
        let mut config = rustls_config(&trust);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect((address, container_port(product))).await.unwrap();
        let name = ServerName::try_from(host(product)).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        Self { stream: BufReader::new(stream), host: host(product), leaf }
    }

    /// The status of a GET on this very connection.
    pub(crate) async fn get(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).await.unwrap() > 0, "the connection was dropped");
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        status
    }
}

fn rustls_config(trust: &TrustBundle) -> rustls::ClientConfig {
    rustls::ClientConfig::clone(&client_config(trust, None).unwrap())
}
