//! Passing a body on.

use wasip2::http::types::{IncomingBody, OutgoingBody};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::Error;

/// As much as is moved at once.
const PIECE: u64 = 64 * 1024;

/// Passes an incoming body on as an outgoing one, piece by piece as they come, and its trailers behind it.
///
/// Never holds more than one piece. Dropped before [`Pipe::finish`], the outgoing body breaks off, so that nobody takes
/// a part for the whole.
pub struct Pipe {
    // Streams belong to their bodies and go first: fields drop in this order.
    input: InputStream,
    output: OutputStream,
    from: IncomingBody,
    to: OutgoingBody,
    ended: bool,
}

/// How far a [`Pipe`] came.
pub enum Step {
    /// There is nothing to move until this is ready. It goes before the next step is taken.
    Wait(Pollable),
    /// All is moved but the trailers.
    Done,
}

impl Pipe {
    /// Takes both bodies, neither of whose streams was taken before.
    pub fn new(from: IncomingBody, to: OutgoingBody) -> Result<Self, Error> {
        Ok(Self {
            input: from
                .stream()
                .map_err(|()| Error::Taken("incoming body's stream"))?,
            output: to
                .write()
                .map_err(|()| Error::Taken("outgoing body's stream"))?,
            from,
            to,
            ended: false,
        })
    }

    /// Moves what can be moved without waiting.
    pub fn step(&mut self) -> Result<Step, Error> {
        let broken = Error::broken("outgoing body");
        loop {
            let room = self.output.check_write().map_err(&broken)?;
            if room == 0 {
                return Ok(Step::Wait(self.output.subscribe()));
            }
            if self.ended {
                return Ok(Step::Done);
            }
            match self.input.read(room.min(PIECE)) {
                Ok(piece) if piece.is_empty() => return Ok(Step::Wait(self.input.subscribe())),
                Ok(piece) => self.output.write(&piece).map_err(&broken)?,
                Err(StreamError::Closed) => self.ended = true,
                Err(StreamError::LastOperationFailed(_)) => {
                    return Err(Error::Broken("incoming body"));
                }
            }
            self.output.flush().map_err(&broken)?;
        }
    }

    /// Ends the outgoing body, with the trailers of the incoming one. Follows [`Step::Done`].
    pub fn finish(self) -> Result<(), Error> {
        let Self {
            input,
            output,
            from,
            to,
            ..
        } = self;
        drop(input);
        drop(output);
        let coming = IncomingBody::finish(from);
        coming.subscribe().block();
        let trailers = match coming.get() {
            Some(Ok(Ok(trailers))) => trailers,
            Some(Ok(Err(code))) => return Err(code.into()),
            Some(Err(())) | None => return Err(Error::Taken("trailers")),
        };
        OutgoingBody::finish(to, trailers)?;
        Ok(())
    }

    /// Moves everything, waiting where either side is slow.
    pub fn run(mut self) -> Result<(), Error> {
        while let Step::Wait(ready) = self.step()? {
            ready.block();
        }
        self.finish()
    }
}
