//! What a session guarantees: what arrives is what was sent, for this session, operation and list of arguments, once.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::HashSet;
use std::sync::Arc;

use hypervisor_protocol::error::CommitmentKind;
use hypervisor_protocol::wire::MAX_ARGUMENTS;
use hypervisor_protocol::{
    ClientSession, Error, Exit, Field, HostSession, OpenResponse, Operation, OwnerKey,
    PendingRequest, PrivateKey, Report, SealedRequest, SealedResponse, SessionId, Stream,
};

type Tampering<T> = Box<dyn Fn(&mut T)>;

fn session() -> (ClientSession, Arc<HostSession>) {
    let (client, host) = (PrivateKey::generate(), PrivateKey::generate());
    let id = SessionId::new();
    let at_host = HostSession::new(&host, client.public_key().clone(), id).unwrap();
    let at_client = ClientSession::new(client, host.public_key().clone(), id).unwrap();
    (at_client, Arc::new(at_host))
}

fn request(client: &ClientSession) -> (SealedRequest, PendingRequest) {
    client
        .seal_request(
            Operation::Wasm,
            b"program",
            Some(b"stdin"),
            &[&b"first"[..], b"second"],
        )
        .unwrap()
}

/// Opens the request and answers it.
fn answer(host: &Arc<HostSession>, request: SealedRequest) -> SealedResponse {
    let opened = host.open_request(Operation::Wasm, request).unwrap();
    let report = Report::new(Exit::Ok, &opened.program, opened.commitment);
    host.claim(opened.sequence)
        .unwrap()
        .seal_response(
            Operation::Wasm,
            opened.arguments.len() as u32,
            &opened.commitment,
            b"result".to_vec(),
            report.encode().unwrap(),
        )
        .unwrap()
}

fn exchange() -> (ClientSession, PendingRequest, SealedResponse) {
    let (client, host) = session();
    let (sealed, pending) = request(&client);
    let response = answer(&host, sealed);
    (client, pending, response)
}

#[test]
fn both_ends_read_what_the_other_wrote() {
    let (client, host) = session();
    let (sealed, pending) = request(&client);
    let opened = host.open_request(Operation::Wasm, sealed.clone()).unwrap();
    assert_eq!(opened.program, b"program");
    assert_eq!(opened.stdin.as_deref(), Some(&b"stdin"[..]));
    assert_eq!(opened.arguments, [&b"first"[..], b"second"]);
    assert_eq!(opened.commitment, pending.commitment);
    let OpenResponse { result, report, .. } = client
        .open_response(&pending, answer(&host, sealed))
        .unwrap();
    assert_eq!(result, b"result");
    assert_eq!(report.exit, Exit::Ok);
}

/// A session, a request in it, and its answer with three chunks before it.
fn streamed() -> (ClientSession, PendingRequest, SealedResponse) {
    let (client, host) = session();
    let (sealed, pending) = request(&client);
    let opened = host.open_request(Operation::Wasm, sealed).unwrap();
    let count = opened.arguments.len() as u32;
    let mut claim = host.claim(opened.sequence).unwrap();
    let mut seal = |stream, output: &[u8]| {
        let output = (stream, output);
        let chunk = claim.seal_chunk(Operation::Wasm, count, &opened.commitment, output);
        chunk.unwrap()
    };
    let encrypted_chunks = vec![
        seal(Stream::Stdout, b"one "),
        seal(Stream::Stderr, b"careful"),
        seal(Stream::Stdout, b"two "),
    ];
    let report = Report {
        streamed: claim.streamed(),
        ..Report::new(Exit::Ok, &opened.program, opened.commitment)
    };
    let result = b"three".to_vec();
    let response = claim
        .seal_response(
            Operation::Wasm,
            count,
            &opened.commitment,
            result,
            report.encode().unwrap(),
        )
        .unwrap();
    let response = SealedResponse {
        encrypted_chunks,
        ..response
    };
    (client, pending, response)
}

#[test]
fn a_streamed_output_is_read_in_its_order() {
    let (client, pending, response) = streamed();
    for (number, chunk) in (0..).zip(&response.encrypted_chunks) {
        client.open_chunk(&pending, number, chunk.clone()).unwrap();
    }
    let opened = client.open_response(&pending, response).unwrap();
    assert_eq!(opened.streamed.stdout, b"one two ");
    assert_eq!(opened.streamed.stderr, b"careful");
    assert_eq!(opened.result, b"three");
}

#[test]
fn a_chunk_that_is_missing_changed_repeated_or_in_the_place_of_another_is_noticed() {
    let (_, _, other) = streamed();
    let tampered: [Tampering<SealedResponse>; 8] = [
        Box::new(|r| drop(r.encrypted_chunks.pop())),
        Box::new(|r| drop(r.encrypted_chunks.remove(0))),
        Box::new(|r| r.encrypted_chunks.clear()),
        Box::new(|r| r.encrypted_chunks.swap(0, 2)),
        Box::new(|r| r.encrypted_chunks.push(r.encrypted_chunks[2].clone())),
        Box::new(|r| r.encrypted_chunks[1][3] ^= 1),
        Box::new(|r| r.encrypted_chunks[1].truncate(3)),
        Box::new(move |r| r.encrypted_chunks = other.encrypted_chunks.clone()),
    ];
    for tamper in tampered {
        let (client, pending, mut response) = streamed();
        tamper(&mut response);
        let error = client.open_response(&pending, response).unwrap_err();
        let which = CommitmentKind::Stream;
        assert_eq!(error, Error::CommitmentMismatch { which });
    }
}

#[test]
fn a_chunk_in_the_place_of_another_field_or_chunk_fails_to_authenticate() {
    let (client, pending, response) = streamed();
    let chunks = &response.encrypted_chunks;
    for (number, chunk) in [
        (1, &chunks[0]),
        (0, &chunks[2]),
        (0, &response.encrypted_result),
        (0, &response.encrypted_report),
    ] {
        let error = client.open_chunk(&pending, number, chunk.clone());
        let field = Field::Chunk(number);
        assert_eq!(error.unwrap_err(), Error::Authentication { field });
    }
    let mut swapped = response.clone();
    swapped.encrypted_result = chunks[0].clone();
    assert!(client.open_response(&pending, swapped).is_err());
}

#[test]
fn an_answer_that_was_not_streamed_has_no_chunks() {
    let (client, pending, mut response) = exchange();
    let (_, _, other) = streamed();
    response.encrypted_chunks = other.encrypted_chunks;
    let which = CommitmentKind::Stream;
    assert_eq!(
        client.open_response(&pending, response).unwrap_err(),
        Error::CommitmentMismatch { which }
    );
}

#[test]
fn opening_a_request_moves_no_buffer() {
    let (client, host) = session();
    let (sealed, _) = request(&client);
    let places = (
        sealed.program.as_ptr(),
        sealed.stdin.as_ref().unwrap().as_ptr(),
        sealed.arguments[1].as_ptr(),
    );
    let opened = host.open_request(Operation::Wasm, sealed).unwrap();
    let now = (
        opened.program.as_ptr(),
        opened.stdin.as_ref().unwrap().as_ptr(),
        opened.arguments[1].as_ptr(),
    );
    assert_eq!(places, now);
}

#[test]
fn an_altered_field_fails_to_authenticate_and_is_named() {
    let cases: [(Field, Tampering<SealedRequest>); 8] = [
        (Field::Program, Box::new(|r| r.program[0] ^= 1)),
        (Field::Program, Box::new(|r| r.program.truncate(15))),
        (Field::Program, Box::new(|r| r.sequence += 1)),
        (
            Field::Stdin,
            Box::new(|r| r.stdin.as_mut().unwrap()[20] ^= 0x80),
        ),
        (Field::Stdin, Box::new(|r| r.stdin = Some(Vec::new()))),
        (Field::Argument(0), Box::new(|r| r.arguments[0].push(0))),
        (Field::Argument(1), Box::new(|r| r.arguments[1][3] ^= 1)),
        (Field::Argument(0), Box::new(|r| r.arguments.swap(0, 1))),
    ];
    for (field, tamper) in cases {
        let (client, host) = session();
        let (mut sealed, _) = request(&client);
        tamper(&mut sealed);
        let error = host.open_request(Operation::Wasm, sealed).unwrap_err();
        assert_eq!(error, Error::Authentication { field });
    }
}

#[test]
fn a_field_put_in_the_place_of_another_fails_to_authenticate() {
    let cases: [Tampering<SealedRequest>; 3] = [
        Box::new(|r| r.program = r.stdin.clone().unwrap()),
        Box::new(|r| r.stdin = Some(r.arguments[0].clone())),
        Box::new(|r| r.arguments[1] = r.arguments[0].clone()),
    ];
    for tamper in cases {
        let (client, host) = session();
        let (mut sealed, _) = request(&client);
        tamper(&mut sealed);
        assert!(host.open_request(Operation::Wasm, sealed).is_err());
    }
}

#[test]
fn another_number_of_arguments_fails_to_authenticate() {
    let cases: [Tampering<SealedRequest>; 3] = [
        Box::new(|r| r.arguments.truncate(1)),
        Box::new(|r| r.arguments.clear()),
        Box::new(|r| r.arguments.push(r.arguments[0].clone())),
    ];
    for tamper in cases {
        let (client, host) = session();
        let (mut sealed, _) = request(&client);
        tamper(&mut sealed);
        let error = host.open_request(Operation::Wasm, sealed).unwrap_err();
        let field = Field::Program;
        assert_eq!(error, Error::Authentication { field });
    }
}

#[test]
fn another_operation_fails_to_authenticate() {
    for operation in [Operation::Python, Operation::Deploy] {
        let (client, host) = session();
        let (sealed, _) = request(&client);
        assert!(host.open_request(operation, sealed).is_err());
    }
}

#[test]
fn a_request_of_another_session_fails_to_authenticate() {
    let (client, _) = session();
    let (_, other) = session();
    let (sealed, _) = request(&client);
    assert!(other.open_request(Operation::Wasm, sealed).is_err());
}

#[test]
fn the_same_keys_under_another_session_id_have_other_keys() {
    let (client, host) = (PrivateKey::generate(), PrivateKey::generate());
    let other = HostSession::new(&host, client.public_key().clone(), SessionId::new()).unwrap();
    let client = ClientSession::new(client, host.public_key().clone(), SessionId::new()).unwrap();
    let (sealed, _) = request(&client);
    assert!(other.open_request(Operation::Wasm, sealed).is_err());
}

#[test]
fn a_response_does_not_open_as_a_request() {
    let (client, host) = session();
    let (sealed, _) = client
        .seal_request::<&[u8]>(Operation::Wasm, b"program", None, &[])
        .unwrap();
    let opened = host.open_request(Operation::Wasm, sealed.clone()).unwrap();
    let response = host
        .claim(0)
        .unwrap()
        .seal_response(
            Operation::Wasm,
            0,
            &opened.commitment,
            b"program".to_vec(),
            Vec::new(),
        )
        .unwrap();
    // Same plaintext, nonce and associated data: only the direction's key differs.
    assert_ne!(response.encrypted_result, sealed.program);
    let reflected = SealedRequest {
        program: response.encrypted_result,
        ..sealed
    };
    assert!(host.open_request(Operation::Wasm, reflected).is_err());
}

/// What the client says to a response that was tampered with.
fn refusal(tamper: impl Fn(&mut SealedResponse)) -> Error {
    let (client, pending, mut response) = exchange();
    tamper(&mut response);
    client.open_response(&pending, response).unwrap_err()
}

#[test]
fn a_response_that_names_another_request_is_refused() {
    let which = CommitmentKind::Request;
    let error = refusal(|r| r.request_commitment.0[0] ^= 1);
    assert_eq!(error, Error::CommitmentMismatch { which });
}

#[test]
fn a_response_with_another_nonce_is_refused() {
    let error = refusal(|r| r.result_nonce[11] ^= 1);
    assert_eq!(error, Error::NonceMismatch { sequence: 0 });
}

#[test]
fn an_altered_response_does_not_match_its_commitment() {
    let which = CommitmentKind::Result;
    let cases: [Tampering<SealedResponse>; 5] = [
        Box::new(|r| r.encrypted_result[0] ^= 1),
        Box::new(|r| r.encrypted_report[0] ^= 1),
        Box::new(|r| r.encrypted_result.clear()),
        Box::new(|r| std::mem::swap(&mut r.encrypted_result, &mut r.encrypted_report)),
        Box::new(|r| r.result_commitment.0[31] ^= 1),
    ];
    for tamper in cases {
        assert_eq!(refusal(tamper), Error::CommitmentMismatch { which });
    }
}

#[test]
fn an_altered_response_with_a_commitment_to_match_fails_to_authenticate() {
    let cases: [(Field, Tampering<SealedResponse>); 3] = [
        (Field::Result, Box::new(|r| r.encrypted_result[0] ^= 1)),
        (Field::Report, Box::new(|r| r.encrypted_report[0] ^= 1)),
        (
            Field::Result,
            Box::new(|r| std::mem::swap(&mut r.encrypted_result, &mut r.encrypted_report)),
        ),
    ];
    for (field, tamper) in cases {
        let error = refusal(|r| {
            tamper(r);
            r.result_commitment = hypervisor_protocol::commitment::result_commitment(
                &r.request_commitment,
                &r.result_nonce,
                &r.encrypted_result,
                &r.encrypted_report,
            )
            .unwrap();
        });
        assert_eq!(error, Error::Authentication { field });
    }
}

#[test]
fn a_stripped_stdin_is_found_out_by_the_report() {
    let (client, host) = session();
    let (sealed, pending) = request(&client);
    // Someone between takes stdin off, and makes the response claim to answer the request as it was sent.
    let stripped = SealedRequest {
        stdin: None,
        ..sealed
    };
    let mut response = answer(&host, stripped);
    response.request_commitment = pending.commitment;
    response.result_commitment = hypervisor_protocol::commitment::result_commitment(
        &response.request_commitment,
        &response.result_nonce,
        &response.encrypted_result,
        &response.encrypted_report,
    )
    .unwrap();
    let which = CommitmentKind::ReportedRequest;
    assert_eq!(
        client.open_response(&pending, response).unwrap_err(),
        Error::CommitmentMismatch { which }
    );
}

#[test]
fn a_response_to_an_earlier_request_is_refused() {
    let (client, host) = session();
    let (first, _) = request(&client);
    let (_, second) = request(&client);
    let response = answer(&host, first);
    assert!(client.open_response(&second, response).is_err());
}

#[test]
fn a_sequence_is_claimed_once() {
    let (_, host) = session();
    assert!(!host.window_contains(5));
    let claim = host.claim(5).unwrap();
    assert_eq!(claim.sequence(), 5);
    assert!(host.window_contains(5));
    assert_eq!(host.claim(5).unwrap_err(), Error::Replayed { sequence: 5 });
}

#[test]
fn a_dropped_claim_leaves_its_sequence_used() {
    let (_, host) = session();
    drop(host.claim(0).unwrap());
    assert!(host.claim(0).is_err());
}

#[test]
fn opening_alone_does_not_use_a_sequence() {
    let (client, host) = session();
    let (sealed, _) = request(&client);
    for _ in 0..2 {
        host.open_request(Operation::Wasm, sealed.clone()).unwrap();
    }
    assert!(!host.window_contains(sealed.sequence));
}

#[test]
fn of_many_threads_one_gets_the_claim() {
    let (_, host) = session();
    let granted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..500).filter(|n| host.claim(*n).is_ok()).count()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum::<usize>()
    });
    assert_eq!(granted, 500);
}

#[test]
fn of_many_threads_each_request_has_its_own_sequence() {
    let (client, _) = session();
    let sequences: HashSet<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..50)
                        .map(|_| request(&client).0.sequence)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(sequences, (0..200).collect());
}

#[test]
fn a_client_session_ends_with_its_sequences() {
    let (client, host) = (PrivateKey::generate(), PrivateKey::generate());
    let id = SessionId::new();
    let session =
        ClientSession::starting_at(client, host.public_key().clone(), id, u64::MAX - 1).unwrap();
    assert_eq!(request(&session).0.sequence, u64::MAX - 1);
    let error = session
        .seal_request::<&[u8]>(Operation::Wasm, b"", None, &[])
        .unwrap_err();
    assert_eq!(error, Error::SequenceExhausted);
}

#[test]
fn too_many_arguments_are_refused_on_both_ends() {
    let (client, host) = session();
    let most = vec![b""; MAX_ARGUMENTS];
    let (mut sealed, _) = client
        .seal_request(Operation::Wasm, b"", None, &most)
        .unwrap();
    host.open_request(Operation::Wasm, sealed.clone()).unwrap();
    let more = vec![b""; MAX_ARGUMENTS + 1];
    let expected = Error::TooManyArguments {
        count: MAX_ARGUMENTS + 1,
        maximum: MAX_ARGUMENTS,
    };
    let refused = client.seal_request(Operation::Wasm, b"", None, &more);
    assert_eq!(refused.unwrap_err(), expected);
    sealed.arguments.push(Vec::new());
    let refused = host.open_request(Operation::Wasm, sealed);
    assert_eq!(refused.unwrap_err(), expected);
}

#[test]
fn debug_output_shows_no_secret() {
    let key = PrivateKey::from_bytes(&[0x5a; 32]).unwrap();
    assert!(!format!("{key:?}").contains("5a5a5a"));
    let (client, host) = session();
    let (sealed, _) = request(&client);
    let opened = host.open_request(Operation::Wasm, sealed).unwrap();
    for text in [
        format!("{client:?}"),
        format!("{host:?}"),
        format!("{opened:?}"),
    ] {
        assert!(
            !text.contains("secrets") && !text.contains("112, 114, 111"),
            "{text}"
        );
    }
}

#[test]
fn a_proof_that_held_makes_no_other_hold() {
    let (client, host) = session();
    let (one, _) = OwnerKey::generate().unwrap();
    let (other, _) = OwnerKey::generate().unwrap();
    let proof = |owner: &OwnerKey| owner.prove(client.public_key(), client.host(), client.id());
    for _ in 0..2 {
        assert_eq!(host.owner(&proof(&one)).unwrap(), *one.public_key());
        assert_eq!(host.owner(&proof(&other)).unwrap(), *other.public_key());
        let mut forged = proof(&one);
        forged.signature = proof(&other).signature;
        assert!(matches!(
            host.owner(&forged),
            Err(Error::InvalidOwner { .. })
        ));
        forged = proof(&one);
        forged.public_key = proof(&other).public_key;
        assert!(matches!(
            host.owner(&forged),
            Err(Error::InvalidOwner { .. })
        ));
    }
    // Nor in another session.
    let (_, elsewhere) = session();
    let moved = elsewhere.owner(&proof(&one));
    assert!(matches!(moved, Err(Error::InvalidOwner { .. })));
}
