//! Answering.

use serde::Serialize;
use wasip2::http::types::{OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::OutputStream;

use crate::Error;
use crate::fields::fields;

/// `wasi:io` takes at most so many bytes in one blocking write.
const LARGEST_WRITE: usize = 4096;

/// Sends the head of a response; the body is the caller's to write and to finish.
pub fn start<N: AsRef<str>, V: AsRef<str>>(
    out: ResponseOutparam,
    status: u16,
    headers: &[(N, V)],
) -> Result<OutgoingBody, Error> {
    let response = OutgoingResponse::new(fields(headers)?);
    response
        .set_status_code(status)
        .map_err(|()| Error::Invalid("status code"))?;
    let body = response
        .body()
        .map_err(|()| Error::Taken("response's body"))?;
    ResponseOutparam::set(out, Ok(response));
    Ok(body)
}

/// Sends a whole response.
pub fn respond<N: AsRef<str>, V: AsRef<str>>(
    out: ResponseOutparam,
    status: u16,
    headers: &[(N, V)],
    content: &[u8],
) -> Result<(), Error> {
    let body = start(out, status, headers)?;
    let stream = body
        .write()
        .map_err(|()| Error::Taken("response's stream"))?;
    write(&stream, content)?;
    // The stream belongs to the body and goes first.
    drop(stream);
    OutgoingBody::finish(body, None)?;
    Ok(())
}

/// Sends a whole response in JSON.
pub fn json(out: ResponseOutparam, status: u16, value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    respond(out, status, &[("content-type", "application/json")], &text)
}

/// Writes all of `content`, waiting where the reader is slower.
pub fn write(stream: &OutputStream, content: &[u8]) -> Result<(), Error> {
    for piece in content.chunks(LARGEST_WRITE) {
        stream
            .blocking_write_and_flush(piece)
            .map_err(Error::broken("response's body"))?;
    }
    Ok(())
}
