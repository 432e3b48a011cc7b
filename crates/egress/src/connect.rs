//! A TCP connection to one of several addresses.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error::Error;

/// Time after which the next address is tried beside those before it (RFC 8305 §5).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers. Nothing is resolved here.
///
/// # Errors
///
/// That of the last attempt that failed, when all did.
pub(crate) async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
    let mut waiting = addresses.into_iter();
    // Attempts that are under way when one succeeds end with the set.
    let mut attempts = JoinSet::new();
    let mut failure = Error::DestinationUnavailable;
    loop {
        match waiting.next() {
            Some(address) => {
                attempts.spawn(TcpStream::connect(address));
            }
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(stream)) => {
                    // A request is written in few pieces, each of which is worth a packet. Without it, it is only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = of_attempt(&error),
                Err(_) => failure = Error::InternalError,
            },
            () = tokio::time::sleep(NEXT_ATTEMPT), if waiting.len() > 0 => {}
        }
    }
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
}
