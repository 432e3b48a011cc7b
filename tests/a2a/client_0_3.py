"""The last official client of A2A 0.3, unchanged: sends a message. In, on stdin: {url}. Out: the error, {code, message}, or {result}."""

import asyncio
import json
import sys
import uuid

import httpx
from a2a.client import A2AClient
from a2a.types import JSONRPCErrorResponse, MessageSendParams, SendMessageRequest


async def main():
    url = json.load(sys.stdin)["url"]
    message = {"role": "user", "parts": [{"kind": "text", "text": "hi"}], "messageId": uuid.uuid4().hex}
    async with httpx.AsyncClient(timeout=60) as http:
        request = SendMessageRequest(id="1", params=MessageSendParams(message=message))
        answer = (await A2AClient(http, url=url).send_message(request)).root
    if isinstance(answer, JSONRPCErrorResponse):
        said = {"code": answer.error.code, "message": answer.error.message}
    else:
        said = {"result": answer.model_dump(mode="json")}
    json.dump(said, sys.stdout)


asyncio.run(main())
