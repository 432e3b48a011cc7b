//! HTTP/1.1 by hand: what no client library sends, and what none shows.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::{Answer, PATIENCE};

/// A connection to a host.
pub struct Wire {
    stream: TcpStream,
    /// What came and was not looked at yet.
    came: Vec<u8>,
}

impl Wire {
    /// Connects to the host of a URL.
    pub async fn open(url: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap();
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            came: Vec::new(),
        }
    }

    /// Connects from another address of this machine.
    pub async fn from(address: IpAddr, url: &str) -> Self {
        Self::with(address, None, url).await
    }

    /// The same with so small a window that an answer stays with the host until it is read.
    pub async fn narrow(address: IpAddr, url: &str) -> Self {
        Self::with(address, Some(4096), url).await
    }

    async fn with(address: IpAddr, window: Option<u32>, url: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(window) = window {
            socket.set_recv_buffer_size(window).unwrap();
        }
        socket.bind(SocketAddr::new(address, 0)).unwrap();
        let host = url.strip_prefix("http://").unwrap().parse().unwrap();
        Self {
            stream: socket.connect(host).await.unwrap(),
            came: Vec::new(),
        }
    }

    /// The whole answer to a request that closes its connection.
    pub async fn answer(&mut self) -> Answer {
        while self.read().await.unwrap_or(0) > 0 {}
        let came = std::mem::take(&mut self.came);
        let end = came
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(came[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse().unwrap(), value.parse().unwrap())
        });
        Answer {
            status: status.parse().unwrap(),
            headers: fields.collect(),
            body: came[end + 4..].to_vec(),
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The same where the host may have closed the connection: whether it took them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// What comes up to `mark`, and `mark` itself.
    pub async fn until(&mut self, mark: &str) -> String {
        loop {
            let mark = mark.as_bytes();
            if let Some(at) = self.came.windows(mark.len()).position(|w| w == mark) {
                let rest = self.came.split_off(at + mark.len());
                let came = std::mem::replace(&mut self.came, rest);
                return String::from_utf8_lossy(&came).into_owned();
            }
            let read = self.read().await.unwrap();
            let came = || String::from_utf8_lossy(&self.came).into_owned();
            assert_ne!(read, 0, "the connection ended after {:?}", came());
        }
    }

    /// Whether something has come, without waiting for it.
    pub fn has_come(&mut self) -> Option<String> {
        match self.stream.try_read_buf(&mut self.came) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        let came = String::from_utf8_lossy(&self.came).into_owned();
        (!came.is_empty()).then_some(came)
    }

    /// What comes until the host ends the connection, in whichever way.
    pub async fn rest(&mut self) -> String {
        loop {
            match self.read().await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.came)).into_owned()
    }

    /// Reads what there is; fails when nothing comes.
    async fn read(&mut self) -> io::Result<usize> {
        let reading = self.stream.read_buf(&mut self.came);
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| panic!("nothing comes, and the connection does not end"))
    }
}

/// Sends a whole request, and gives all that comes until the host ends the connection.
pub async fn exchange(url: &str, request: impl AsRef<[u8]>) -> String {
    let mut wire = Wire::open(url).await;
    wire.send(request).await;
    wire.rest().await
}
