//! What shows that a request was forwarded by a node, and for whom.
//!
//! ```text
//! Hypervisor-Forwarded: <tag of the sender> <tag of the receiver> <Unix time, seconds> <client's address, or -> <MAC, hex>
//! MAC = the store's keyed hash, under the fleet's key, of the text before it ‖ LF ‖ method ‖ LF ‖ path and query
//! ```
//!
//! Without it any stranger could name any address as its own, and so take part of another peer's account.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use hypervisor_store::{Store, Table, Under};
use subtle::ConstantTimeEq;

use crate::tag::Tag;

/// The header field of a request that a node forwards.
pub const FORWARDED: HeaderName = HeaderName::from_static("hypervisor-forwarded");

/// Bytes of the field at most.
const MOST: usize = 200;
/// Seconds within which the address counts.
const FRESH: u64 = 30;
/// What the keyed hash is of: no rows are in it.
const PROOFS: Table = Table {
    name: "forwarded",
    under: Under::Platform,
};

/// A request that a node forwarded. It is not forwarded again, whoever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proved {
    /// The address of the client; none where it is not known, or the proof is old or meant for another node.
    pub client: Option<IpAddr>,
}

/// What is being forwarded: method and target.
pub(crate) type Request<'a> = (&'a Method, &'a Uri);

/// The field for a request that `from` forwards to `to`.
pub(crate) fn make(
    rows: &Store,
    [from, to]: [Tag; 2],
    now: u64,
    client: Option<IpAddr>,
    request: Request<'_>,
) -> Option<HeaderValue> {
    let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let text = format!("{from} {to} {now} {client}");
    let mac = const_hex::encode(mac(rows, &text, request));
    HeaderValue::from_str(&format!("{text} {mac}")).ok()
}

/// What the fields of a request prove: nothing, where there is not exactly one that a node made.
pub(crate) fn check(
    rows: &Store,
    own: Tag,
    now: u64,
    fields: &HeaderMap,
    request: Request<'_>,
) -> Option<Proved> {
    let mut all = fields.get_all(FORWARDED).iter();
    let (Some(field), None) = (all.next(), all.next()) else {
        return None;
    };
    let field = field.to_str().ok().filter(|field| field.len() <= MOST)?;
    let (text, shown) = field.rsplit_once(' ')?;
    let mut read = [0; 32];
    const_hex::decode_to_slice(shown, &mut read).ok()?;
    if !bool::from(mac(rows, text, request).ct_eq(&read)) {
        return None;
    }
    let mut parts = text.split(' ').skip(1);
    let to = Tag::parse(parts.next()?)?;
    let at: u64 = parts.next()?.parse().ok()?;
    let client = parts.next()?.parse().ok();
    let counts = to == own && now.abs_diff(at) <= FRESH;
    Some(Proved {
        client: client.filter(|_| counts),
    })
}

fn mac(rows: &Store, text: &str, (method, uri): Request<'_>) -> [u8; 32] {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let said = format!("{text}\n{method}\n{target}");
    rows.blind(PROOFS, said.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::rows;

    const A: Tag = Tag([1; 4]);
    const B: Tag = Tag([2; 4]);

    fn client() -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, 9]))
    }

    fn fields(value: &HeaderValue) -> HeaderMap {
        HeaderMap::from_iter([(FORWARDED, value.clone())])
    }

    #[test]
    fn what_a_node_forwards_proves_itself_and_its_client() {
        let (rows, uri) = (rows(), Uri::from_static("/test/execute/wasm?x=1"));
        let request = (&Method::POST, &uri);
        let field = make(&rows, [A, B], 1000, client(), request).unwrap();
        let proved = check(&rows, B, 1020, &fields(&field), request);
        assert_eq!(proved, Some(Proved { client: client() }));
    }

    #[test]
    fn an_old_proof_or_one_for_another_node_still_stops_a_second_forwarding_and_names_nobody() {
        let (rows, uri) = (rows(), Uri::from_static("/x"));
        let request = (&Method::POST, &uri);
        let fields = fields(&make(&rows, [A, B], 1000, client(), request).unwrap());
        let nobody = Some(Proved { client: None });
        assert_eq!(check(&rows, B, 1031, &fields, request), nobody);
        assert_eq!(check(&rows, A, 1000, &fields, request), nobody);
    }

    #[test]
    fn a_proof_for_another_request_or_by_another_key_or_twice_proves_nothing() {
        let (own, uri) = (rows(), Uri::from_static("/x"));
        let request = (&Method::POST, &uri);
        let field = make(&own, [A, B], 1000, client(), request).unwrap();
        let fields = fields(&field);
        let other = Uri::from_static("/y");
        assert_eq!(check(&own, B, 1000, &fields, (&Method::POST, &other)), None);
        assert_eq!(check(&own, B, 1000, &fields, (&Method::GET, &uri)), None);
        assert_eq!(
            check(&crate::tests::stranger(), B, 1000, &fields, request),
            None
        );
        let mut twice = fields.clone();
        twice.append(FORWARDED, field);
        assert_eq!(check(&own, B, 1000, &twice, request), None);
        assert_eq!(check(&own, B, 1000, &HeaderMap::new(), request), None);
    }

    proptest! {
        #[test]
        fn no_text_of_a_stranger_proves_anything(text in "[ -~]{0,300}") {
            let (rows, uri) = (rows(), Uri::from_static("/x"));
            let field = HeaderValue::from_str(&text).unwrap();
            prop_assert_eq!(check(&rows, B, 1000, &fields(&field), (&Method::POST, &uri)), None);
        }
    }
}
