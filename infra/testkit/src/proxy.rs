//! A TCP proxy that can fall silent: connections stay open and nothing comes through, as behind a network that drops all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// In front of one server on 127.0.0.1.
pub struct SilentProxy {
    /// Where it listens.
    pub port: u16,
    generation: Arc<watch::Sender<Generation>>,
    accepting: JoinHandle<()>,
}

/// Connections of an earlier generation stay silent for ever.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Generation {
    number: u32,
    silent: bool,
}

impl SilentProxy {
    /// Starts it; it lets everything through.
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let generation = Arc::new(watch::Sender::new(Generation::default()));
        let own = Arc::clone(&generation);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
                tokio::spawn(carry(client, to, own.subscribe()));
            }
        });
        Self { port, generation, accepting }
    }

    /// Nothing comes through any more, on connections old and new.
    pub fn fall_silent(&self) {
        self.generation.send_modify(|generation| generation.silent = true);
    }

    /// New connections go through again; those that fell silent stay so.
    pub fn speak_again(&self) {
        self.generation.send_modify(|generation| {
            generation.number += 1;
            generation.silent = false;
        });
    }
}

impl Drop for SilentProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, to: SocketAddr, mut generation: watch::Receiver<Generation>) {
    let began = *generation.borrow();
    if began.silent {
        // Accepted, and never answered.
        return std::future::pending().await;
    }
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let silence = async {
        drop(generation.wait_for(|now| *now != began).await);
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        () = silence => {}
    }
    // Neither end is told: both sockets stay open.
    std::future::pending::<()>().await;
}
