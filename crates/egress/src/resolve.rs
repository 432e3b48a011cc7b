//! Names to addresses, and the check that stands between them and a connection.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::address::Networks;
use crate::error::Error;
use crate::origin::Origin;
use crate::share::Share;

/// Most lookups of the system's resolver that run at once. Each holds a thread until it ends, also when nobody waits any more.
const MAX_LOOKUPS: usize = 64;
/// Longest that a lookup is waited for.
const LONGEST_LOOKUP: Duration = Duration::from_secs(60);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;

/// What a resolver answers: all addresses of a name.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Error>> + Send + 'a>>;

/// Finds the addresses of a name. A trait, so that tests can give answers.
pub trait Resolve: Send + Sync {
    /// All addresses of `name`, which is in lower case and no address itself.
    ///
    /// # Errors
    ///
    /// [`Error::DnsError`] when the name can not be resolved.
    fn resolve<'a>(&'a self, name: &'a str) -> Answer<'a>;
}

/// The operating system's resolver (getaddrinfo), with its configuration and its cache. Lookups beyond a number wait for others.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    slots: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let slot = self
                .slots
                .clone()
                .acquire_owned()
                .await
                .map_err(|_| Error::InternalError)?;
            let name = name.to_owned();
            let lookup = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                drop(slot);
                found
            });
            match lookup.await {
                Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip()).collect()),
                Ok(Err(_)) => Err(Error::DnsError { rcode: None }),
                Err(_) => Err(Error::InternalError),
            }
        })
    }
}

/// The addresses of `origin` to connect to. One that is not allowed refuses them all: a name that resolves both to a public and
/// to a private address is a trick to get past a check of the first.
///
/// # Errors
///
/// [`Error::DestinationIpProhibited`], [`Error::DestinationNotFound`] for a name without address, and the resolver's own.
pub(crate) async fn destinations(
    resolver: &Arc<dyn Resolve>,
    share: &Share,
    networks: &Networks,
    origin: &Origin,
) -> Result<Vec<SocketAddr>, Error> {
    let addresses = match origin.ip() {
        Some(address) => vec![address],
        None => lookup(resolver, share, origin.host().to_owned()).await?,
    };
    if addresses.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    let mut found = addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, origin.port()));
    if !found.clone().all(|address| networks.permit(address)) {
        return Err(Error::DestinationIpProhibited);
    }
    Ok(found.by_ref().take(MAX_ADDRESSES).collect())
}

/// Resolves a name. A lookup is part of the share until it ends, also when nobody waits for it any more: the thread or the socket
/// that it takes is not given back before.
async fn lookup(
    resolver: &Arc<dyn Resolve>,
    share: &Share,
    name: String,
) -> Result<Vec<IpAddr>, Error> {
    let slot = share.lookup().await?;
    let resolver = Arc::clone(resolver);
    let lookup = tokio::spawn(async move {
        let _slot = slot;
        tokio::time::timeout(LONGEST_LOOKUP, resolver.resolve(&name)).await
    });
    lookup
        .await
        .map_err(|_| Error::InternalError)?
        .map_err(|_| Error::DnsTimeout)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Bounds;

    /// Gives the same answer to every question.
    struct Fixed(Vec<&'static str>);

    impl Resolve for Fixed {
        fn resolve<'a>(&'a self, _: &'a str) -> Answer<'a> {
            let answer = self.0.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { Ok(answer) })
        }
    }

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    async fn of(
        url: &str,
        answer: &[&'static str],
        allowed: &[&str],
    ) -> Result<Vec<String>, Error> {
        let networks = Networks::parse(allowed).unwrap();
        let resolver: Arc<dyn Resolve> = Arc::new(Fixed(answer.to_vec()));
        let share = Share::new(Bounds::default());
        let found = destinations(&resolver, &share, &networks, &origin(url)).await?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn a_name_with_public_addresses_goes_to_all_of_them_in_order() {
        let found = of("https://a.example", &["1.1.1.1", "2606:4700::1"], &[]).await;
        assert_eq!(found.unwrap(), ["1.1.1.1:443", "[2606:4700::1]:443"]);
    }

    #[tokio::test]
    async fn one_prohibited_address_refuses_the_whole_answer() {
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "::ffff:10.0.0.1",
        ] {
            for answer in [[private, "1.1.1.1"], ["1.1.1.1", private]] {
                assert_eq!(
                    of("http://a.example", &answer, &[]).await,
                    Err(Error::DestinationIpProhibited)
                );
            }
        }
    }

    #[tokio::test]
    async fn a_listed_network_is_allowed_beside_public_addresses() {
        let found = of(
            "http://a.example",
            &["10.0.0.1", "1.1.1.1"],
            &["10.0.0.0/8"],
        )
        .await;
        assert_eq!(found.unwrap(), ["10.0.0.1:80", "1.1.1.1:80"]);
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer_and_is_checked_as_well() {
        assert_eq!(
            of("http://1.1.1.1:81", &[], &[]).await.unwrap(),
            ["1.1.1.1:81"]
        );
        for url in ["http://127.0.0.1", "http://[::1]", "http://[::ffff:7f00:1]"] {
            assert_eq!(
                of(url, &["1.1.1.1"], &[]).await,
                Err(Error::DestinationIpProhibited)
            );
        }
    }

    #[tokio::test]
    async fn a_name_without_address_is_not_found() {
        assert_eq!(
            of("http://a.example", &[], &[]).await,
            Err(Error::DestinationNotFound)
        );
    }

    #[tokio::test]
    async fn an_address_beyond_those_that_are_tried_still_refuses_the_answer() {
        let mut answer = vec!["1.1.1.1"; MAX_ADDRESSES];
        assert_eq!(
            of("http://a.example", &answer, &[]).await.unwrap().len(),
            MAX_ADDRESSES
        );
        answer.push("127.0.0.1");
        assert_eq!(
            of("http://a.example", &answer, &[]).await,
            Err(Error::DestinationIpProhibited)
        );
    }

    #[tokio::test]
    async fn the_system_resolves_its_own_name_to_loopback() {
        let found = SystemResolver::default()
            .resolve("localhost")
            .await
            .unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.is_loopback()));
    }

    #[tokio::test]
    async fn a_lookup_waits_for_a_slot_and_gives_it_back() {
        let slots = Arc::new(Semaphore::new(1));
        let resolver = SystemResolver {
            slots: slots.clone(),
        };
        let taken = slots.acquire_owned().await.unwrap();
        let mut waiting = resolver.resolve("localhost");
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it did not wait"),
            () = tokio::task::yield_now() => {}
        }
        drop(taken);
        assert!(waiting.await.is_ok());
        assert!(resolver.resolve("localhost").await.is_ok());
    }
}
