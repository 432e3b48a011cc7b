//! The metadata service, and what it may answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_vtpm::Imds;

use crate::support::answering;

#[test]
fn the_certificate_of_a_chip_comes_as_pem_in_json() {
    let imds = answering(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"vcekCert\":\"-----BEGIN CERTIFICATE-----\\nAAEC\\nAwQF\\n-----END CERTIFICATE-----\\n\",\"certificateChain\":\"\"}",
    );
    assert_eq!(imds.vcek().unwrap(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn other_answers_are_refused_and_say_what_was_asked_for() {
    for (answer, said) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n{}", "status 404"),
        ("HTTP/1.1 200 OK\r\n\r\n{}", "vcekCert"),
        (
            "HTTP/1.1 200 OK\r\n\r\n{\"vcekCert\":\"!\"}",
            "certificate of the chip's key",
        ),
        ("not HTTP", "not HTTP"),
        ("", "not HTTP"),
    ] {
        let refused = answering(answer).vcek().unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_service_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = Imds::at(address).quote(&[0; 1024]).unwrap_err().to_string();
    assert!(refused.contains(&address.to_string()), "{refused}");
}
