"""The official client of MCP in Python, unchanged: connects, lists the tools and calls some. In and out as those of client.mjs, but for
`era`: the one of version 1 of the package knows nothing of it.

In, on stdin: {url, era: "modern" | "legacy", calls: [{name, arguments}]}. Out: {version, tools, results}.
"""

import asyncio
import importlib.metadata
import json
import sys


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def answers(client, calls):
    tools = [plain(tool) for tool in (await client.list_tools()).tools]
    results = []
    for call in calls:
        try:
            results.append(plain(await client.call_tool(call["name"], call["arguments"])))
        except Exception as error:
            results.append({"error": {"message": str(error)}})
    return {"tools": tools, "results": results}


async def second(asked):
    from mcp.client.client import Client

    mode = "legacy" if asked["era"] == "legacy" else "2026-07-28"
    async with Client(asked["url"], mode=mode) as client:
        return {"version": client.protocol_version, **await answers(client, asked["calls"])}


async def first(asked):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with streamable_http_client(asked["url"]) as (read, write, _):
        async with ClientSession(read, write) as session:
            begun = await session.initialize()
            return {"version": begun.protocolVersion, **await answers(session, asked["calls"])}


asked = json.load(sys.stdin)
is_first = importlib.metadata.version("mcp").startswith("1.")
json.dump(asyncio.run((first if is_first else second)(asked)), sys.stdout)
