//! Names to addresses, and the check that stands between them and a connection.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Networks;
use crate::error::Error;
use crate::origin::Origin;
use crate::share::Share;

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
    /// [`Error::DnsError`] when the name can not be resolved.
    fn resolve<'a>(&'a self, name: &'a str) -> Answer<'a>;
}

/// The operating system's resolver (getaddrinfo), with its configuration and its cache. Each lookup has a thread until it ends: how many
/// there are is for the [`Share`] to say.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            let addresses = found.map_err(|_| Error::DnsError {
                rcode: None,
                info_code: None,
            })?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// The addresses of `origin` to connect to. One that is not allowed refuses them all: a name that resolves both to a public and
/// to a private address is a trick to get past a check of the first.
///
/// # Errors
/// [`Error::DestinationIpProhibited`], [`Error::DestinationNotFound`] for a name without address, and the resolver's own.
pub(crate) async fn destinations(
    resolver: &Arc<dyn Resolve>,
    share: &Share,
    networks: &Networks,
    origin: &Origin,
) -> Result<Vec<SocketAddr>, Error> {
    let mut addresses = match origin.ip() {
        Some(address) => vec![address],
        None => lookup(resolver, share, origin.host().into_owned()).await?,
    };
    if addresses.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    let to = |address: &IpAddr| SocketAddr::new(*address, origin.port());
    if !addresses.iter().all(|address| networks.permit(to(address))) {
        return Err(Error::DestinationIpProhibited);
    }
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses.iter().map(to).collect())
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
        resolver.resolve(&name).await
    });
    match tokio::time::timeout(LONGEST_LOOKUP, lookup).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Error::InternalError(None)),
        Err(_) => Err(Error::DnsTimeout),
    }
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
                assert!(matches!(
                    of("http://a.example", &answer, &[]).await,
                    Err(Error::DestinationIpProhibited)
                ));
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
            assert!(matches!(
                of(url, &["1.1.1.1"], &[]).await,
                Err(Error::DestinationIpProhibited)
            ));
        }
    }

    #[tokio::test]
    async fn a_name_without_address_is_not_found() {
        assert!(matches!(
            of("http://a.example", &[], &[]).await,
            Err(Error::DestinationNotFound)
        ));
    }

    #[tokio::test]
    async fn an_address_beyond_those_that_are_tried_still_refuses_the_answer() {
        let mut answer = vec!["1.1.1.1"; MAX_ADDRESSES];
        assert_eq!(
            of("http://a.example", &answer, &[]).await.unwrap().len(),
            MAX_ADDRESSES
        );
        answer.push("127.0.0.1");
        assert!(matches!(
            of("http://a.example", &answer, &[]).await,
            Err(Error::DestinationIpProhibited)
        ));
    }

    #[tokio::test]
    async fn the_system_resolves_its_own_name_to_loopback() {
        let found = SystemResolver.resolve("localhost").await.unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.is_loopback()));
    }
}
