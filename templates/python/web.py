"""The body of a request, and a whole response."""

import json

from componentize_py_types import Err, Ok
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

# As much as is read at once.
PIECE = 64 * 1024
# One blocking write takes no more.
LARGEST_WRITE = 4096


def read_body(request: IncomingRequest) -> bytes:
    """The whole body of a request."""
    pieces = []
    with request.consume() as body, body.stream() as stream:
        while True:
            try:
                pieces.append(stream.blocking_read(PIECE))
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return b"".join(pieces)
                raise


def reply(out: ResponseOutparam, status: int, value: object) -> None:
    """Sends a whole response."""
    response = OutgoingResponse(Fields.from_list([("content-type", b"application/json")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    content = json.dumps(value).encode()
    with body.write() as stream:
        for start in range(0, len(content), LARGEST_WRITE):
            stream.blocking_write_and_flush(content[start : start + LARGEST_WRITE])
    OutgoingBody.finish(body, None)
