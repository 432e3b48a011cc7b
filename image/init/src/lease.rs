//! A network address by DHCP (RFC 2131): taken before the host starts, asked for again while it is used.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use edge_dhcp::{DhcpOption, MessageType, Options, Packet, Settings};
use rustix::rand::{GetRandomFlags, getrandom};
use socket2::{Domain, Socket, Type};

use crate::link::{self, Card};
use crate::{in_words, say};

const CLIENT: u16 = 68;
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::BROADCAST), 67);
/// How long one question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often all of it is tried before the guest gives up.
const ATTEMPTS: usize = 20;
/// The largest message that a server may send without being told that more is possible.
const MESSAGE: usize = 1500;
/// An address that is given for ever is asked for again at times all the same.
const LONGEST: u32 = 24 * 3600;
const SHORTEST: u32 = 60;
/// Where `/etc/resolv.conf` of the image points to.
const RESOLVERS: &str = "/run/resolv.conf";

/// What a server gave.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    address: Ipv4Addr,
    server: Option<Ipv4Addr>,
    mask: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
    resolvers: Vec<Ipv4Addr>,
    seconds: u32,
}

/// Takes an address for `card`, sets it, and asks for it again for as long as the guest runs.
pub(crate) fn take(card: Card) -> io::Result<()> {
    link::up(card.index)?;
    let socket = socket(&card)?;
    let lease = (0..ATTEMPTS)
        .find_map(|_| offer(&socket, &card).and_then(|offer| request(&socket, &card, &offer, None)))
        .ok_or_else(|| io::Error::other(format!("no DHCP server gave {} an address", card.name)))?;
    let prefix = prefix(lease.mask);
    link::address(&card, lease.address, prefix, lease.gateway)?;
    say(&format!("{} has {}/{prefix}", card.name, lease.address));
    let resolvers: String = lease
        .resolvers
        .iter()
        .map(|resolver| format!("nameserver {resolver}\n"))
        .collect();
    fs::write(RESOLVERS, resolvers).map_err(|error| in_words(RESOLVERS, error))?;
    std::thread::Builder::new()
        .name("lease".to_owned())
        .spawn(move || keep(&socket, &card, lease))?;
    Ok(())
}

/// Asks for the address again halfway through each lease.
fn keep(socket: &UdpSocket, card: &Card, mut lease: Lease) {
    loop {
        let half = lease.seconds.clamp(SHORTEST, LONGEST) / 2;
        std::thread::sleep(Duration::from_secs(half.into()));
        match request(socket, card, &lease, Some(lease.address)) {
            Some(again) if again.address == lease.address => lease = again,
            Some(other) => say(&format!(
                "the DHCP server gives {} now; {} is kept until the next start",
                other.address, lease.address
            )),
            None => say("the DHCP server does not answer any more; the address is kept"),
        }
    }
}

fn socket(card: &Card) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // No other card's answers, and a way out before there is a route.
    socket.bind_device(Some(card.name.as_bytes()))?;
    socket.set_broadcast(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENT)).into())?;
    Ok(socket.into())
}

fn offer(socket: &UdpSocket, card: &Card) -> Option<Lease> {
    let wanted = [
        DhcpOption::CODE_ROUTER,
        DhcpOption::CODE_SUBNET,
        DhcpOption::CODE_DNS,
    ];
    let options = [
        DhcpOption::MessageType(MessageType::Discover),
        DhcpOption::ParameterRequestList(&wanted),
    ];
    exchange(socket, card, &options, None, MessageType::Offer)
}

/// `bound` is the address that the card has already.
fn request(
    socket: &UdpSocket,
    card: &Card,
    offer: &Lease,
    bound: Option<Ipv4Addr>,
) -> Option<Lease> {
    let wanted = [
        DhcpOption::CODE_ROUTER,
        DhcpOption::CODE_SUBNET,
        DhcpOption::CODE_DNS,
    ];
    let mut options = vec![
        DhcpOption::MessageType(MessageType::Request),
        DhcpOption::ParameterRequestList(&wanted),
    ];
    // RFC 2131, table 5: who has an address says so in the header alone.
    if bound.is_none() {
        options.push(DhcpOption::RequestedIpAddress(offer.address));
        options.extend(offer.server.map(DhcpOption::ServerIdentifier));
    }
    exchange(socket, card, &options, bound, MessageType::Ack)
}

/// Sends a question and waits for its answer; none where none of the kind that is wanted came in time.
fn exchange(
    socket: &UdpSocket,
    card: &Card,
    options: &[DhcpOption<'_>],
    bound: Option<Ipv4Addr>,
    kind: MessageType,
) -> Option<Lease> {
    let mut id = [0; 4];
    getrandom(&mut id, GetRandomFlags::empty()).ok()?;
    let id = u32::from_be_bytes(id);
    let mut packet = Packet::new_request(card.mac, id, 0, bound, true, Options::new(options));
    // That is for servers to fill in.
    packet.yiaddr = Ipv4Addr::UNSPECIFIED;
    let mut buffer = [0; MESSAGE];
    let question = packet.encode(&mut buffer).ok()?;
    socket.send_to(question, SERVER).ok()?;
    let until = Instant::now() + PATIENCE;
    let mut buffer = [0; MESSAGE];
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        socket
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .ok()?;
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let Some(Ok(answer)) = buffer.get(..length).map(Packet::decode) else {
            continue;
        };
        if answer.is_for_us(&card.mac, id) && is(&answer, kind) {
            return Some(lease(&answer));
        }
    }
    None
}

fn is(answer: &Packet<'_>, kind: MessageType) -> bool {
    answer
        .options
        .iter()
        .any(|option| matches!(option, DhcpOption::MessageType(found) if found == kind))
}

fn lease(answer: &Packet<'_>) -> Lease {
    let settings = Settings::new(answer);
    Lease {
        address: settings.ip,
        server: settings.server_ip,
        mask: settings.subnet,
        gateway: settings.gateway,
        resolvers: [settings.dns1, settings.dns2]
            .into_iter()
            .flatten()
            .collect(),
        seconds: settings.lease_time_secs.unwrap_or(LONGEST),
    }
}

/// A server that names no mask gives an address without neighbours.
fn prefix(mask: Option<Ipv4Addr>) -> u8 {
    let bits = mask.map_or(u32::MAX, u32::from);
    u8::try_from(bits.leading_ones()).unwrap_or(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_a_lease() {
        let options = [
            DhcpOption::MessageType(MessageType::Ack),
            DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 2, 2)),
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::IpAddressLeaseTime(86_400),
        ];
        let mut answer = Packet::new_request([2; 6], 7, 0, None, true, Options::new(&options));
        answer.reply = true;
        answer.yiaddr = Ipv4Addr::new(10, 0, 2, 15);
        let mut buffer = [0; MESSAGE];
        let answer = Packet::decode(answer.encode(&mut buffer).unwrap()).unwrap();
        assert!(answer.is_for_us(&[2; 6], 7) && is(&answer, MessageType::Ack));
        assert!(!answer.is_for_us(&[2; 6], 8) && !is(&answer, MessageType::Offer));
        let lease = lease(&answer);
        assert_eq!(lease.address, Ipv4Addr::new(10, 0, 2, 15));
        assert_eq!((prefix(lease.mask), lease.seconds), (24, 86_400));
    }

    #[test]
    fn an_address_without_a_mask_has_no_neighbours() {
        assert_eq!(prefix(None), 32);
        assert_eq!(prefix(Some(Ipv4Addr::new(255, 255, 240, 0))), 20);
    }
}
