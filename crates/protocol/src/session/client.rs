//! The client's end of a session.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    OpenResponse, SealedRequest, SealedResponse, SessionId, SessionSecrets, argument_fields,
};
use crate::commitment::{StreamCommitment, count, request_commitment, result_commitment};
use crate::error::CommitmentKind;
use crate::sealing::{AssociatedData, Field, Nonce, Operation, TAG_LENGTH};
use crate::stream::{Output, Stream};
use crate::{Commitment, Error, PrivateKey, PublicKey, Report};

/// The client's end of a session: seals requests, each with the next sequence, and opens their responses. Thread safe.
pub struct ClientSession {
    id: SessionId,
    public_key: PublicKey,
    host: PublicKey,
    secrets: SessionSecrets,
    /// The sequence of the next request.
    next: AtomicU64,
}

/// What a client keeps of a request to check and open its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// The sequence of the request.
    pub sequence: u64,
    /// Its operation.
    pub operation: Operation,
    /// Its number of arguments.
    pub argument_count: u32,
    /// The commitment to it as it was sent.
    pub commitment: Commitment,
}

impl ClientSession {
    /// Agrees on the session's keys. `host` is the session's public key S, from create_keypair; without a quote over it, it
    /// is only as trustworthy as the connection. Requests are numbered from 0.
    ///
    /// # Errors
    /// None that a caller can cause ([`Error::KeyDerivation`]).
    pub fn new(client: PrivateKey, host: PublicKey, id: SessionId) -> Result<Self, Error> {
        Self::starting_at(client, host, id, 0)
    }

    /// As [`Self::new`], with requests numbered from `sequence`: to go on with a session that was put aside.
    ///
    /// `sequence` must be above every one already used: two requests under one sequence have the same nonces, and the host
    /// refuses the second.
    ///
    /// # Errors
    /// None that a caller can cause ([`Error::KeyDerivation`]).
    pub fn starting_at(
        client: PrivateKey,
        host: PublicKey,
        id: SessionId,
        sequence: u64,
    ) -> Result<Self, Error> {
        let public_key = client.public_key().clone();
        let secrets = SessionSecrets::derive(&client, &host, [&public_key, &host], id)?;
        Ok(Self {
            id,
            public_key,
            host,
            secrets,
            next: AtomicU64::new(sequence),
        })
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The client's public key, C.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The session's public key, S.
    pub fn host(&self) -> &PublicKey {
        &self.host
    }

    /// The sequence that the next request takes.
    pub fn next_sequence(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Seals a request under the next sequence, which is used up whatever becomes of the request; so no nonce repeats. To
    /// send a request again, send the same bytes: it runs once at most.
    ///
    /// # Errors
    /// [`Error::TooManyArguments`], [`Error::TooLong`] for a field over 4 GiB, [`Error::SequenceExhausted`] after 2^64 - 1
    /// requests.
    pub fn seal_request<A: AsRef<[u8]>>(
        &self,
        operation: Operation,
        program: &[u8],
        stdin: Option<&[u8]>,
        arguments: &[A],
    ) -> Result<(SealedRequest, PendingRequest), Error> {
        let argument_count = count(arguments.len())?;
        let aad = AssociatedData::new(operation, argument_count);
        let sequence = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                next.checked_add(1)
            })
            .map_err(|_| Error::SequenceExhausted)?;
        let seal = |field, plaintext: &[u8]| -> Result<Vec<u8>, Error> {
            let mut buffer = Vec::with_capacity(plaintext.len().saturating_add(TAG_LENGTH));
            buffer.extend_from_slice(plaintext);
            let nonce = Nonce::new(sequence, field)?;
            self.secrets.request.seal(nonce, &aad, field, &mut buffer)?;
            Ok(buffer)
        };
        let request = SealedRequest {
            sequence,
            program: seal(Field::Program, program)?,
            stdin: stdin.map(|stdin| seal(Field::Stdin, stdin)).transpose()?,
            arguments: argument_fields(arguments)
                .map(|(field, argument)| seal(field, argument.as_ref()))
                .collect::<Result<_, _>>()?,
        };
        let commitment =
            request_commitment(&self.public_key, &self.host, self.id, operation, &request)?;
        let pending = PendingRequest {
            sequence,
            operation,
            argument_count,
            commitment,
        };
        Ok((request, pending))
    }

    /// Opens chunk `number` of a streamed output, counted from 0. That no chunk is missing or was put in the place of another is known for
    /// those before it; that none is missing at the end, when the response was opened.
    ///
    /// # Errors
    /// [`Error::Authentication`] for anything but that chunk of the answer to this request.
    pub fn open_chunk(
        &self,
        pending: &PendingRequest,
        number: u32,
        mut chunk: Vec<u8>,
    ) -> Result<(Stream, Vec<u8>), Error> {
        let field = Field::Chunk(number);
        let nonce = Nonce::new(pending.sequence, field)?;
        let aad = AssociatedData::new(pending.operation, pending.argument_count);
        let key = &self.secrets.response;
        key.open(nonce, &aad, field, &mut chunk)?;
        let (number, output) = chunk.split_first().ok_or(Error::Stream {
            reason: "has a chunk of no output",
        })?;
        Ok((Stream::of(*number)?, output.to_vec()))
    }

    /// Checks that the response answers this very request, then decrypts it in place.
    ///
    /// # Errors
    /// [`Error::CommitmentMismatch`] when the response names another request, its result commitment is wrong, or the host
    /// received something else than was sent (the commitment in the sealed report), or chunks of the output are missing, changed or
    /// more; [`Error::NonceMismatch`];
    /// [`Error::Authentication`]; [`Error::Decode`] or [`Error::ReportVersion`] for a report that this crate can not read.
    pub fn open_response(
        &self,
        pending: &PendingRequest,
        response: SealedResponse,
    ) -> Result<OpenResponse, Error> {
        let mismatch = |which| Err(Error::CommitmentMismatch { which });
        if response.request_commitment != pending.commitment {
            return mismatch(CommitmentKind::Request);
        }
        let nonce = Nonce::new(pending.sequence, Field::Result)?;
        if *nonce.as_bytes() != response.result_nonce {
            return Err(Error::NonceMismatch {
                sequence: pending.sequence,
            });
        }
        let expected = result_commitment(
            &pending.commitment,
            &response.result_nonce,
            &response.encrypted_result,
            &response.encrypted_report,
        )?;
        if response.result_commitment != expected {
            return mismatch(CommitmentKind::Result);
        }
        let aad = AssociatedData::new(pending.operation, pending.argument_count);
        let (mut result, mut report) = (response.encrypted_result, response.encrypted_report);
        let key = &self.secrets.response;
        key.open(nonce, &aad, Field::Result, &mut result)?;
        let nonce = Nonce::new(pending.sequence, Field::Report)?;
        key.open(nonce, &aad, Field::Report, &mut report)?;
        let report = Report::decode(&report)?;
        if report.request_commitment != pending.commitment {
            return mismatch(CommitmentKind::ReportedRequest);
        }
        let mut received = StreamCommitment::new(&pending.commitment);
        for chunk in &response.encrypted_chunks {
            received.add(chunk)?;
        }
        let said = report.streamed.map(|said| (said.chunks, said.commitment));
        let here = (received.chunks() > 0).then(|| (received.chunks(), received.commitment()));
        if said != here {
            return mismatch(CommitmentKind::Stream);
        }
        let mut streamed = Output::default();
        for (number, chunk) in (0..).zip(response.encrypted_chunks) {
            let (stream, bytes) = self.open_chunk(pending, number, chunk)?;
            streamed.of(stream).extend_from_slice(&bytes);
        }
        Ok(OpenResponse {
            result,
            report,
            streamed,
        })
    }
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("id", &self.id)
            .field("public_key", &self.public_key)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
