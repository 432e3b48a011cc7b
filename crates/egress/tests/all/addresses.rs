//! Each special range by name, and what lies beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hypervisor_egress::{NetworkError, Networks, is_public};
use proptest::prelude::*;

#[track_caller]
fn private(what: &str, addresses: &[&str]) {
    for address in addresses {
        assert!(!is_public(address.parse().unwrap()), "{what}: {address}");
    }
}

#[track_caller]
fn public(addresses: &[&str]) {
    for address in addresses {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn special_ranges_of_ipv4_are_not_public_from_first_to_last_address() {
    private("this network, RFC 791", &["0.0.0.0", "0.255.255.255"]);
    private("private use, RFC 1918", &["10.0.0.0", "10.255.255.255"]);
    private("private use, RFC 1918", &["172.16.0.0", "172.31.255.255"]);
    private("private use, RFC 1918", &["192.168.0.0", "192.168.255.255"]);
    private(
        "carriers' NAT, RFC 6598",
        &["100.64.0.0", "100.127.255.255"],
    );
    private(
        "loopback, RFC 1122",
        &["127.0.0.0", "127.0.0.1", "127.255.255.255"],
    );
    private("link-local, RFC 3927", &["169.254.0.0", "169.254.255.255"]);
    private(
        "IETF protocol assignments, RFC 6890",
        &["192.0.0.0", "192.0.0.255"],
    );
    private("TEST-NET-1, RFC 5737", &["192.0.2.0", "192.0.2.255"]);
    private("TEST-NET-2, RFC 5737", &["198.51.100.0", "198.51.100.255"]);
    private("TEST-NET-3, RFC 5737", &["203.0.113.0", "203.0.113.255"]);
    private("6to4 relays, RFC 7526", &["192.88.99.0", "192.88.99.255"]);
    private("benchmarking, RFC 2544", &["198.18.0.0", "198.19.255.255"]);
    private("multicast, RFC 5771", &["224.0.0.0", "239.255.255.255"]);
    private("reserved, RFC 1112", &["240.0.0.0", "255.255.255.254"]);
    private("limited broadcast, RFC 919", &["255.255.255.255"]);
}

#[test]
fn metadata_services_of_clouds_are_not_public() {
    private("AWS, Azure, Google", &["169.254.169.254", "fd00:ec2::254"]);
    private("Alibaba", &["100.100.100.200"]);
    private("Oracle", &["192.0.0.192"]);
    private("Azure", &["168.63.129.16"]);
}

#[test]
fn what_lies_beside_a_special_range_of_ipv4_is_public() {
    public(&[
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "168.63.129.15",
        "8.8.8.8",
    ]);
}

#[test]
fn special_ranges_of_ipv6_are_not_public_from_first_to_last_address() {
    private("unspecified, RFC 4291", &["::"]);
    private("loopback, RFC 4291", &["::1"]);
    private(
        "unique local, RFC 4193",
        &["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "link-local, RFC 4291",
        &["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "site-local, RFC 3879",
        &["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "multicast, RFC 4291",
        &["ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "documentation, RFC 3849",
        &["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "documentation, RFC 9637",
        &["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "discard-only, RFC 6666",
        &["100::", "100::ffff:ffff:ffff:ffff"],
    );
    private("dummy prefix, RFC 9780", &["100:0:0:1::"]);
    private("segment routing, RFC 9602", &["5f00::1"]);
    private("not assigned, RFC 4291", &["4000::1", "1fff::1", "e000::1"]);
}

#[test]
fn translators_and_tunnels_are_not_public_whatever_is_behind_them() {
    private(
        "NAT64, RFC 6052",
        &["64:ff9b::8.8.8.8", "64:ff9b::127.0.0.1"],
    );
    private(
        "NAT64, RFC 8215",
        &["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "6to4, RFC 3056",
        &["2002::", "2002:808:808::1", "2002:7f00:1::1"],
    );
    private(
        "Teredo, RFC 4380",
        &["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
    private(
        "translated, RFC 2765",
        &["::ffff:0:8.8.8.8", "::ffff:0:127.0.0.1"],
    );
}

#[test]
fn protocol_assignments_of_ipv6_are_not_public() {
    private("benchmarking, RFC 5180", &["2001:2::1"]);
    private("multicast tunnels, RFC 7450", &["2001:3::1"]);
    private("AS112, RFC 7535", &["2001:4:112::1"]);
    private("ORCHID, RFC 4843", &["2001:10::1"]);
    private("ORCHIDv2, RFC 7343", &["2001:20::1"]);
    private("drones, RFC 9374", &["2001:30::1"]);
    private(
        "the last, RFC 2928",
        &["2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
    );
}

#[test]
fn global_unicast_is_public() {
    public(&[
        "2000::1",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700:4700::1111",
        "3ffe:ffff::1",
        "3fff:1000::1",
    ]);
}

#[test]
fn an_ipv4_address_inside_an_ipv6_address_is_judged_itself() {
    private(
        "mapped",
        &[
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
        ],
    );
    private("mapped", &["::ffff:0.0.0.0", "::ffff:a00:1"]);
    private(
        "compatible",
        &["::127.0.0.1", "::10.0.0.1", "::169.254.169.254"],
    );
    public(&["::ffff:8.8.8.8", "::8.8.8.8"]);
}

#[test]
fn a_listed_range_is_allowed_and_its_neighbours_are_not() {
    let networks = Networks::parse(&["10.1.0.0/16", "fd00::/16", "127.0.0.1"]).unwrap();
    for (address, allowed) in [
        ("10.1.2.3", true),
        ("10.2.0.0", false),
        ("fd00::1", true),
        ("fd01::1", false),
        ("127.0.0.1", true),
        ("127.0.0.2", false),
        ("8.8.8.8", true),
        ("::ffff:10.1.2.3", true),
        ("::ffff:10.2.0.0", false),
        ("::10.1.2.3", false),
        ("::1", false),
    ] {
        assert_eq!(
            networks.allow(address.parse().unwrap()),
            allowed,
            "{address}"
        );
    }
}

#[test]
fn without_a_range_public_addresses_alone_are_allowed() {
    let networks = Networks::default();
    assert!(networks.allow("8.8.8.8".parse().unwrap()));
    assert!(!networks.allow("10.0.0.1".parse().unwrap()));
}

#[test]
fn what_is_no_range_is_refused_with_the_range_that_was_meant() {
    for text in [
        "",
        "10.0.0.0/33",
        "10.0.0/8",
        "localhost",
        "::1/129",
        "10.0.0.0/-1",
    ] {
        let error = Networks::parse(&[text]).unwrap_err();
        assert!(matches!(error, NetworkError::Invalid { .. }), "{text}");
    }
    assert_eq!(
        Networks::parse(&["10.1.2.3/8"]).unwrap_err().to_string(),
        "`10.1.2.3/8` has bits set after its prefix; write `10.0.0.0/8`"
    );
}

#[test]
fn a_range_that_is_denied_is_so_although_it_is_public_or_listed() {
    let networks = Networks::parse(&["10.0.0.0/8"]).unwrap();
    let networks = networks.without(&["10.1.0.0/16", "8.8.8.8"]).unwrap();
    let allow = |text: &str| networks.allow(text.parse().unwrap());
    assert!(allow("10.0.0.1") && allow("8.8.4.4"));
    assert!(!allow("10.1.0.1") && !allow("8.8.8.8") && !allow("::ffff:8.8.8.8"));
}

proptest! {
    #[test]
    fn mapped_and_compatible_addresses_are_as_public_as_what_they_hold(bits in any::<u32>()) {
        let inside = Ipv4Addr::from_bits(bits);
        let public = is_public(IpAddr::V4(inside));
        prop_assert_eq!(is_public(IpAddr::V6(inside.to_ipv6_mapped())), public);
        prop_assert_eq!(is_public(IpAddr::V6(inside.to_ipv6_compatible())), public);
    }

    #[test]
    fn what_the_standard_library_calls_local_is_not_public(bits in any::<u32>()) {
        let address = Ipv4Addr::from_bits(bits);
        if address.is_private() || address.is_loopback() || address.is_link_local()
            || address.is_multicast() || address.is_broadcast() || address.is_documentation()
        {
            prop_assert!(!is_public(IpAddr::V4(address)));
        }
    }

    #[test]
    fn nothing_outside_global_unicast_is_public(bits in any::<u128>()) {
        let address = Ipv6Addr::from_bits(bits);
        let embeds = bits >> 32 == 0 || bits >> 32 == 0xffff;
        if bits >> 125 != 1 && !embeds {
            prop_assert!(!is_public(IpAddr::V6(address)));
        }
    }

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,50}") {
        let _ = Networks::parse(&[text]);
    }
}
