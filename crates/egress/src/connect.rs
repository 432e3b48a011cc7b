//! A TCP connection to one of several addresses.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::share::{Share, Taken};

/// Time after which the next address is tried beside those before it (RFC 8305 §5).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers. Nothing is resolved here. The first attempt has `taken`; those beside it take
/// of the `share`, and where that has no more they come one after the other.
///
/// # Errors
///
/// That of the last attempt that failed, when all did.
pub(crate) async fn connect(
    addresses: Vec<SocketAddr>,
    taken: Taken,
    share: &Share,
) -> Result<(TcpStream, Taken), Error> {
    let mut waiting = addresses.into_iter();
    let mut free = Some(taken);
    // Attempts that are under way when one succeeds end with the set.
    let mut attempts = JoinSet::new();
    let mut failure = Error::DestinationUnavailable;
    loop {
        let next = free.take().or_else(|| share.connection().ok());
        match (next, waiting.len()) {
            (Some(taken), 1..) => {
                if let Some(address) = waiting.next() {
                    attempts.spawn(attempt(address, taken));
                }
            }
            (taken, 0) if attempts.is_empty() => {
                drop(taken);
                return Err(failure);
            }
            _ => {}
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok((Ok(stream), taken)) => {
                    // A request is written in few pieces, each of which is worth a packet. Without it, it is only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, taken));
                }
                Ok((Err(error), taken)) => {
                    failure = of_attempt(&error);
                    free = Some(taken);
                }
                Err(_) => failure = Error::InternalError,
            },
            () = tokio::time::sleep(NEXT_ATTEMPT), if waiting.len() > 0 => {}
        }
    }
}

async fn attempt(address: SocketAddr, taken: Taken) -> (std::io::Result<TcpStream>, Taken) {
    (TcpStream::connect(address).await, taken)
}

fn of_attempt(error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::DestinationUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::share::Bounds;

    async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
        connect_within(2, addresses).await
    }

    async fn connect_within(most: usize, addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
        let share = Share::new(Bounds {
            connections: most,
            lookups: 1,
        });
        let taken = share.connection()?;
        let (stream, _) = super::connect(addresses, taken, &share).await?;
        Ok(stream)
    }

    async fn closed() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let stream = connect(vec![closed().await, closed().await, open])
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn when_all_refuse_the_connection_is_refused() {
        let addresses = vec![closed().await, closed().await];
        assert_eq!(
            connect(addresses).await.err(),
            Some(Error::ConnectionRefused)
        );
    }

    #[tokio::test]
    async fn without_an_address_the_destination_is_unavailable() {
        assert_eq!(
            connect(vec![]).await.err(),
            Some(Error::DestinationUnavailable)
        );
    }

    #[tokio::test]
    async fn a_share_of_one_tries_all_addresses_one_after_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let addresses = vec![closed().await, closed().await, open];
        let stream = connect_within(1, addresses).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }
}
