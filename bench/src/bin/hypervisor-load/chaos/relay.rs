//! A relay in front of a server, which does to its connections what networks and servers do.

use std::net::SocketAddr;

use hypervisor_bench::error::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of connections. Those that are open when it changes are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Bytes go through.
    Fair,
    /// Connections are refused.
    Refusing,
    /// Connections are taken, and nothing comes.
    Silent,
    /// Every request is answered with status 500.
    Failing,
    /// Requests go through; with the answer's first byte the connection is cut.
    Cutting,
}

impl Weather {
    /// All that are not fair.
    pub(super) const FOUL: [Self; 4] = [Self::Refusing, Self::Silent, Self::Failing, Self::Cutting];
}

const FAILURE: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

pub(super) struct Relay {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    serving: JoinHandle<()>,
    // Bound and never listening: keeps the port from others while connections are refused.
    _reserved: TcpSocket,
}

impl Relay {
    /// In front of what is at a URL of this machine, in fair weather.
    pub(super) async fn before(url: &str) -> Result<Self> {
        let server = url.strip_prefix("http://").context("no URL of http")?;
        let server = server
            .trim_end_matches('/')
            .replace("localhost", "127.0.0.1");
        let server: SocketAddr = server.parse().context("a server's address")?;
        let reserved = bound(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = reserved.local_addr().context("a relay's address")?;
        let weather = watch::Sender::new(Weather::Fair);
        let listener = bound(address)?.listen(256).context("a relay's port")?;
        let serving = tokio::spawn(serve(listener, address, server, weather.subscribe()));
        Ok(Self {
            address,
            weather,
            serving,
            _reserved: reserved,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn turns(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn bound(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4().context("a socket")?;
    socket.set_reuseaddr(true).context("a socket")?;
    socket.bind(address).context("a relay's port")?;
    Ok(socket)
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    server: SocketAddr,
    mut weather: watch::Receiver<Weather>,
) {
    let mut listener = Some(listener);
    loop {
        let now = *weather.borrow_and_update();
        if now == Weather::Refusing {
            listener = None;
        } else if listener.is_none() {
            listener = bound(address).ok().and_then(|it| it.listen(256).ok());
        }
        // Dropped with the weather, and what they carry with them.
        let mut open = JoinSet::new();
        loop {
            let arriving = async {
                match &listener {
                    Some(listener) => listener.accept().await.ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = weather.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                arrived = arriving => if let Some((client, _)) = arrived {
                    open.spawn(carry(client, server, now));
                },
            }
        }
    }
}

/// One connection. Whatever ends it, it is over.
async fn carry(mut client: TcpStream, server: SocketAddr, weather: Weather) {
    match weather {
        Weather::Fair => {
            if let Ok(mut there) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut client, &mut there).await;
            }
        }
        Weather::Refusing => {}
        Weather::Silent => std::future::pending().await,
        Weather::Failing => {
            let mut request = [0; 4096];
            let _ = client.read(&mut request).await;
            let _ = client.write_all(FAILURE).await;
            let _ = client.shutdown().await;
        }
        Weather::Cutting => {
            let Ok(mut there) = TcpStream::connect(server).await else {
                return;
            };
            let (mut from_client, _) = client.split();
            let (mut answers, mut to_server) = there.split();
            let mut first = [0; 1];
            tokio::select! {
                _ = async {
                    let _ = copy(&mut from_client, &mut to_server).await;
                    std::future::pending::<()>().await;
                } => {}
                _ = answers.read(&mut first) => {}
            }
        }
    }
}
