"""The official client of A2A in Python, unchanged: gets the card, verifies its signature, and makes some calls.

In, on stdin: {url, binding: "JSONRPC" | "HTTP+JSON", token, extensions, calls: [call]}. Out: {card, results}, where a call that failed is
{error}. A call is one of
  {send: SendMessageRequest, stream, leave}   {events}; with `leave` the client goes after so many
  {get: GetTaskRequest}, {cancel: CancelTaskRequest}   {task}
  {list: ListTasksRequest}   {list}
  {subscribe: SubscribeToTaskRequest}   {events}
"""

import asyncio
import json
import sys

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.client.client import ClientCallContext
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    SendMessageRequest,
    SubscribeToTaskRequest,
)
from a2a.utils.signing import create_signature_verifier
from google.protobuf.json_format import MessageToDict, ParseDict
from jwt import PyJWK


async def events(stream, leave=None):
    seen = []
    async for event in stream:
        seen.append(MessageToDict(event))
        if leave is not None and len(seen) >= leave:
            await stream.aclose()
            break
    return {"events": seen}


async def answer(clients, call, context):
    # One that streams, and one that does not.
    client = clients[bool(call.get("stream"))]
    if "send" in call:
        request = ParseDict(call["send"], SendMessageRequest())
        return await events(client.send_message(request, context=context), call.get("leave"))
    if "subscribe" in call:
        request = ParseDict(call["subscribe"], SubscribeToTaskRequest())
        return await events(clients[True].subscribe(request, context=context))
    if "get" in call:
        request = ParseDict(call["get"], GetTaskRequest())
        return {"task": MessageToDict(await client.get_task(request, context=context))}
    if "cancel" in call:
        request = ParseDict(call["cancel"], CancelTaskRequest())
        return {"task": MessageToDict(await client.cancel_task(request, context=context))}
    request = ParseDict(call["list"], ListTasksRequest())
    return {"list": MessageToDict(await client.list_tasks(request, context=context))}


async def main():
    asked = json.load(sys.stdin)
    headers = {}
    if asked.get("token"):
        headers["authorization"] = f"Bearer {asked['token']}"
    if asked.get("extensions"):
        headers["a2a-extensions"] = ", ".join(asked["extensions"])
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        url = asked["url"]
        keys = (await http.get(url + ".well-known/jwks.json")).json()["keys"]

        def key(kid, _jku):
            # The operator's, not wherever the card says that it is.
            return PyJWK(next(key for key in keys if key["kid"] == kid))

        verified = create_signature_verifier(key, ["ES256"])
        card = await A2ACardResolver(http, url).get_agent_card(signature_verifier=verified)

        def client(streaming):
            config = ClientConfig(
                streaming=streaming,
                httpx_client=http,
                supported_protocol_bindings=[asked["binding"]],
                use_client_preference=True,
            )
            return ClientFactory(config).create(card)

        clients = {streaming: client(streaming) for streaming in (False, True)}
        results = []
        for call in asked["calls"]:
            try:
                results.append(await answer(clients, call, ClientCallContext(timeout=60)))
            except Exception as error:
                results.append({"error": {"type": type(error).__name__, "message": str(error)}})
        json.dump({"card": MessageToDict(card), "results": results}, sys.stdout)


asyncio.run(main())
