"""Greets its caller, in JSON."""

import json

from web import read_body, reply
from wit_world import exports
from wit_world.imports.types import IncomingRequest, Method_Get, Method_Post, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        """Called for each request. The body of a POST is `{"name": "Ada"}`."""
        match request.method():
            case Method_Get():
                reply(response_out, 200, {"greeting": "hello, world"})
            case Method_Post():
                try:
                    name = json.loads(read_body(request))["name"]
                except (ValueError, LookupError, TypeError) as error:
                    reply(response_out, 400, {"error": f"{type(error).__name__}: {error}"})
                else:
                    reply(response_out, 200, {"greeting": f"hello, {name}"})
            case _:
                reply(response_out, 405, {"error": "ask by GET or POST"})
