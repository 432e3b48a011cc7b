//! The host's end of a session.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{
    OpenRequest, SealedRequest, SealedResponse, SessionId, SessionSecrets, argument_fields,
};
use crate::commitment::{StreamCommitment, argument_count, request_commitment, result_commitment};
use crate::report::Streamed;
use crate::scrub::without_trace;
use crate::sealing::{AssociatedData, Field, Nonce, Operation, TAG_LENGTH};
use crate::stream::{MAX_CHUNKS, Stream};
use crate::{Commitment, Error, OwnerProof, PrivateKey, PublicKey, ReplayWindow};

/// The host's end of a session: opens requests, gives each sequence out once, seals responses. Thread safe.
pub struct HostSession {
    id: SessionId,
    client: PublicKey,
    public_key: PublicKey,
    secrets: SessionSecrets,
    window: Mutex<ReplayWindow>,
    /// The first proof of an owner that held, with its key: it is the same in every request.
    owner: OnceLock<(OwnerProof, PublicKey)>,
}

impl HostSession {
    /// Agrees on the session's keys with `client`. `host` is the session's own key pair, made for it alone; it is not
    /// needed afterwards.
    ///
    /// # Errors
    /// None that a caller can cause ([`Error::KeyDerivation`]).
    pub fn new(host: &PrivateKey, client: PublicKey, id: SessionId) -> Result<Self, Error> {
        let public_key = host.public_key().clone();
        let secrets = SessionSecrets::derive(host, &client, [&client, &public_key], id)?;
        Ok(Self {
            id,
            client,
            public_key,
            secrets,
            window: Mutex::default(),
            owner: OnceLock::new(),
        })
    }

    /// The owner that a proof is of. One that held before is not checked again.
    ///
    /// # Errors
    /// As [`OwnerProof::verify`].
    pub fn owner(&self, proof: &OwnerProof) -> Result<PublicKey, Error> {
        if let Some((held, owner)) = self.owner.get()
            && held == proof
        {
            return Ok(owner.clone());
        }
        let owner = proof.verify(&self.client, &self.public_key, &self.id)?;
        // Of several owners in one session the others are checked each time.
        let _ = self.owner.set((proof.clone(), owner.clone()));
        Ok(owner)
    }

    /// The same with a new key pair, of which nothing but the public key stays.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's random number generator fails.
    pub fn generate(client: PublicKey, id: SessionId) -> Result<Self, Error> {
        without_trace(|| Self::new(&PrivateKey::try_generate()?, client, id))
    }

    /// The client's public key, C.
    pub fn client(&self) -> &PublicKey {
        &self.client
    }

    /// The session's public key, S.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Commits to the ciphertexts, then decrypts every field in place. The sequence is not consumed yet, so that a request
    /// which is refused later (no payment, say) can be sent again.
    ///
    /// # Errors
    /// [`Error::Authentication`] naming the first field that fails, [`Error::TooManyArguments`], [`Error::TooLong`].
    pub fn open_request(
        &self,
        operation: Operation,
        request: SealedRequest,
    ) -> Result<OpenRequest, Error> {
        let aad = AssociatedData::new(operation, argument_count(&request)?);
        let commitment =
            request_commitment(&self.client, &self.public_key, self.id, operation, &request)?;
        let SealedRequest {
            sequence,
            mut program,
            mut stdin,
            mut arguments,
        } = request;
        let open = |field, buffer: &mut Vec<u8>| {
            let nonce = Nonce::new(sequence, field)?;
            self.secrets.request.open(nonce, &aad, field, buffer)
        };
        open(Field::Program, &mut program)?;
        if let Some(stdin) = &mut stdin {
            open(Field::Stdin, stdin)?;
        }
        for (field, argument) in argument_fields(&mut arguments) {
            open(field, argument)?;
        }
        Ok(OpenRequest {
            sequence,
            program,
            stdin,
            arguments,
            commitment,
        })
    }

    /// Whether the sequence is already used (or too old): a cheap look before expensive work. Only [`Self::claim`] decides.
    pub fn window_contains(&self, sequence: u64) -> bool {
        self.window
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(sequence)
    }

    /// Consumes the sequence. The claim is the only way to seal a response, and a sequence is claimed once, so no response
    /// nonce is used twice. Call it when the request has authenticated (and payment has passed), before anything runs:
    /// a sequence that did not authenticate must not move the window.
    ///
    /// # Errors
    /// [`Error::Replayed`] when it was consumed before or is older than the window.
    pub fn claim(self: &Arc<Self>, sequence: u64) -> Result<Claim, Error> {
        let fresh = self
            .window
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(sequence);
        if fresh {
            Ok(Claim {
                session: Arc::clone(self),
                sequence,
                stream: None,
            })
        } else {
            Err(Error::Replayed { sequence })
        }
    }
}

impl fmt::Debug for HostSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSession")
            .field("id", &self.id)
            .field("client", &self.client)
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

/// The right to answer one sequence of a session, once. Dropping it leaves the sequence consumed.
#[derive(Debug)]
#[must_use = "the sequence is consumed; seal a response with the claim"]
pub struct Claim {
    session: Arc<HostSession>,
    sequence: u64,
    /// The chunks that were sealed, where some were.
    stream: Option<StreamCommitment>,
}

impl Claim {
    /// The sequence claimed.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The session it belongs to.
    pub fn session(&self) -> &Arc<HostSession> {
        &self.session
    }

    /// Frees the sequence: nothing was done, so the same request may come again. One that something was sealed for stays consumed.
    pub fn give_back(self) {
        if self.stream.is_none() {
            let window = self.session.window.lock();
            let mut window = window.unwrap_or_else(PoisonError::into_inner);
            window.remove(self.sequence);
        }
    }

    /// Seals the next chunk of the output: what the program wrote to `stream` since the last one. `operation`, `argument_count` and
    /// `request_commitment` are those of the request.
    ///
    /// # Errors
    /// [`Error::Stream`] after [`MAX_CHUNKS`] of them.
    pub fn seal_chunk(
        &mut self,
        operation: Operation,
        argument_count: u32,
        request_commitment: &Commitment,
        (stream, output): (Stream, &[u8]),
    ) -> Result<Vec<u8>, Error> {
        let sealed = (self.stream).get_or_insert_with(|| StreamCommitment::new(request_commitment));
        let number = sealed.chunks();
        if usize::try_from(number).map_or(true, |number| number >= MAX_CHUNKS) {
            return Err(Error::Stream {
                reason: "has as many chunks as one may have",
            });
        }
        let field = Field::Chunk(number);
        let mut chunk = Vec::with_capacity(output.len().saturating_add(1 + TAG_LENGTH));
        chunk.push(stream.number());
        chunk.extend_from_slice(output);
        let nonce = Nonce::new(self.sequence, field)?;
        let aad = AssociatedData::new(operation, argument_count);
        let key = &self.session.secrets.response;
        key.seal(nonce, &aad, field, &mut chunk)?;
        sealed.add(&chunk)?;
        Ok(chunk)
    }

    /// What the report is to say of the chunks that were sealed; none where none were.
    pub fn streamed(&self) -> Option<Streamed> {
        let stream = self.stream.as_ref()?;
        Some(Streamed {
            chunks: stream.chunks(),
            commitment: stream.commitment(),
        })
    }

    /// Seals the answer to the request of this sequence. `operation`, `argument_count` and `request_commitment` are those of
    /// the request; `report` is an encoded [`crate::Report`]. Both buffers are encrypted in place: leave
    /// [`crate::sealing::TAG_LENGTH`] bytes of capacity to spare a large result its copy.
    ///
    /// # Errors
    /// [`Error::TooLong`] for a field over 4 GiB.
    pub fn seal_response(
        self,
        operation: Operation,
        argument_count: u32,
        request_commitment: &Commitment,
        result: Vec<u8>,
        report: Vec<u8>,
    ) -> Result<SealedResponse, Error> {
        let aad = AssociatedData::new(operation, argument_count);
        let nonce = Nonce::new(self.sequence, Field::Result)?;
        let result_nonce = *nonce.as_bytes();
        let (mut encrypted_result, mut encrypted_report) = (result, report);
        let key = &self.session.secrets.response;
        key.seal(nonce, &aad, Field::Result, &mut encrypted_result)?;
        let nonce = Nonce::new(self.sequence, Field::Report)?;
        key.seal(nonce, &aad, Field::Report, &mut encrypted_report)?;
        let result_commitment = result_commitment(
            request_commitment,
            &result_nonce,
            &encrypted_result,
            &encrypted_report,
        )?;
        Ok(SealedResponse {
            result_nonce,
            encrypted_result,
            encrypted_report,
            encrypted_chunks: Vec::new(),
            request_commitment: *request_commitment,
            result_commitment,
        })
    }
}
