// The official client of MCP, unchanged: connects, lists the tools and calls some.
//
// In, on stdin: {url, era: "modern" | "legacy", calls: [{name, arguments, _meta}], answers}. Out: {version, tools, results}, where a call that
// failed is {error}. Whatever a server asks the user is answered with `answers`, where there are any.

import { text } from 'node:stream/consumers';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const { url, era, calls, answers } = JSON.parse(await text(process.stdin));
const mode = era === 'legacy' ? 'legacy' : { pin: '2026-07-28' };
const capabilities = answers ? { elicitation: {} } : {};
const client = new Client({ name: 'test', version: '1.0.0' }, { versionNegotiation: { mode }, capabilities });
if (answers) {
  client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: answers }));
}
const transport = new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);
const { tools } = await client.listTools();
const results = [];
for (const call of calls) {
  results.push(await client.callTool(call).catch((error) => ({ error: { code: error.code, message: error.message } })));
}
process.stdout.write(JSON.stringify({ version: client.getNegotiatedProtocolVersion?.() ?? null, tools, results }));
await client.close();
