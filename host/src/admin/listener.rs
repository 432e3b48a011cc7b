//! Where the admin port is: an address, or a socket in the file system.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};

use super::guard::{self, Guard};
use super::token::Token;
use crate::config::{Admin, Place};
use crate::error::Error;

/// The admin port, open and not yet answering.
#[derive(Debug)]
pub struct Listener {
    place: Place,
    bound: Bound,
    hosts: Vec<String>,
    token: Option<Token>,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Opens the port where there is one. `token_file` holds its token, and is made where it is missing.
    ///
    /// # Errors
    /// When the address or path is taken, or the token cannot be had.
    pub async fn open(settings: &Admin, token_file: PathBuf) -> Result<Option<Self>, Error> {
        let Some(place) = settings.place()? else {
            return Ok(None);
        };
        let failed = |source| Error::ListenAdmin {
            place: place.to_string(),
            source,
        };
        let (bound, token) = match &place {
            Place::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                (Bound::Tcp(listener), Some(Token::obtain(&token_file)?))
            }
            Place::Unix(path) => (Bound::Unix(bind(path).map_err(failed)?), None),
        };
        let place = match &bound {
            Bound::Tcp(listener) => Place::Tcp(listener.local_addr().map_err(failed)?),
            Bound::Unix(_) => place,
        };
        Ok(Some(Self {
            place,
            bound,
            hosts: settings.hosts.clone(),
            token,
        }))
    }

    /// Where it is; of a port that was to be a free one, which it became.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Answers, as long as the host runs.
    pub async fn serve(self, router: Router) {
        let guard = Arc::new(Guard {
            address: match self.place {
                Place::Tcp(address) => Some(address),
                Place::Unix(_) => None,
            },
            hosts: self.hosts,
            token: self.token,
        });
        let router = router.layer(axum::middleware::from_fn_with_state(guard, guard::check));
        let result = match self.bound {
            Bound::Tcp(listener) => {
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, service).await
            }
            Bound::Unix(listener) => axum::serve(listener, router).await,
        };
        if let Err(error) = result {
            tracing::error!(%error, "the admin port failed");
        }
    }
}

/// A socket for this user alone. One that a host which is gone left there is replaced.
fn bind(path: &PathBuf) -> std::io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin");
        let first = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(bind(&path).is_err());
        drop(first);
        assert!(bind(&path).is_ok());
    }
}
