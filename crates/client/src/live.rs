//! Output while a run goes on: chunks of an answer that is not whole yet, opened and told as they come.
//!
//! What was told is right so far as it goes: each chunk is authentic and in its place. That nothing is missing behind it is known when the
//! answer was verified.

use std::fmt;
use std::sync::Arc;

use http::Response;
use hypervisor_protocol::{ClientSession, HexBytes, OpenResponse, Output, PendingRequest, Stream};

use crate::agents::arriving::{Arrived, Arriving};
use crate::error::Error;

/// Something that a listener is told.
pub(crate) enum Heard<'a> {
    /// The head of a service's response.
    Head(Response<()>),
    Output(Stream, &'a [u8]),
}

/// What is done with it.
type Tell = dyn Fn(Heard<'_>) + Send + Sync;

/// Who is told of output.
#[derive(Clone)]
pub(crate) struct Listener(Arc<Tell>);

impl Listener {
    pub(crate) fn new(told: impl Fn(Heard<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(crate) fn tell(&self, stream: Stream, output: &[u8]) {
        if !output.is_empty() {
            (self.0)(Heard::Output(stream, output));
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// What a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// What the program wrote to standard output.
    Output,
    /// A service's response in Binary HTTP, of which the body is told.
    Message,
    /// Likewise; what came with the answer is not told, as who is told of the rest takes it from there when it was verified.
    Response,
    /// An answer about an environment, with what it wrote in it.
    Answer,
}

/// Chunks of the answer to one request.
pub(crate) struct Opening<'a> {
    session: &'a ClientSession,
    pending: &'a PendingRequest,
    listener: &'a Listener,
    form: Form,
    chunks: Vec<HexBytes>,
    /// Bytes that were told, of standard output as the host has it, and of standard error.
    told: [usize; 2],
    /// Bytes that came, likewise: fewer when the request was sent again.
    came: [usize; 2],
    arriving: Arriving,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(
        session: &'a ClientSession,
        pending: &'a PendingRequest,
        listener: &'a Listener,
        form: Form,
    ) -> Self {
        Self {
            session,
            pending,
            listener,
            form,
            chunks: Vec::new(),
            told: [0; 2],
            came: [0; 2],
            arriving: Arriving::default(),
        }
    }

    /// The request is sent, for the first time or again.
    pub(crate) fn begin(&mut self) {
        self.chunks.clear();
        self.came = [0; 2];
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`Error::Verification`] for one that is not the next of this answer.
    pub(crate) fn chunk(&mut self, sealed: Vec<u8>) -> Result<(), Error> {
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let opened = self
            .session
            .open_chunk(self.pending, number, sealed.clone())
            .map_err(Error::Verification)?;
        self.chunks.push(HexBytes(sealed));
        self.output(opened.0, &opened.1);
        Ok(())
    }

    /// The chunks that came, as they were.
    pub(crate) fn take_chunks(&mut self) -> Vec<HexBytes> {
        std::mem::take(&mut self.chunks)
    }

    /// Tells what was not told of an answer that was verified. An environment's is in its answer, for who reads that.
    pub(crate) fn finish(&mut self, opened: &OpenResponse) {
        if self.form == Form::Response {
            return;
        }
        self.came = [0; 2];
        let OpenResponse {
            result,
            report,
            streamed: Output { stdout, stderr },
        } = opened;
        self.output(Stream::Stdout, stdout);
        if self.form != Form::Answer {
            self.output(Stream::Stdout, result);
        }
        self.output(Stream::Stderr, stderr);
        self.output(Stream::Stderr, &report.stderr.0);
    }

    fn output(&mut self, stream: Stream, output: &[u8]) {
        let ([came, _], [told, _]) = (&mut self.came, &mut self.told);
        let (came, told) = match stream {
            Stream::Stdout => (came, told),
            Stream::Stderr => {
                let ([_, came], [_, told]) = (&mut self.came, &mut self.told);
                (came, told)
            }
        };
        let before = told.saturating_sub(*came);
        *came = came.saturating_add(output.len());
        *told = (*told).max(*came);
        let output = output.get(before..).unwrap_or_default();
        match (self.form, stream) {
            (Form::Message | Form::Response, Stream::Stdout) => {
                let Arrived { head, content } = self.arriving.push(output);
                if let Some(head) = head {
                    (self.listener.0)(Heard::Head(head));
                }
                self.listener.tell(stream, &content);
            }
            _ => self.listener.tell(stream, output),
        }
    }
}
