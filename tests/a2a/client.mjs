// The official client of A2A in JavaScript, unchanged: gets the card, verifies its signature, and makes some calls.
//
// In and out as those of client.py.

import { text } from 'node:stream/consumers';
import {
  CancelTaskRequest,
  GetTaskRequest,
  ListTasksRequest,
  ListTasksResponse,
  Message,
  SendMessageRequest,
  StreamResponse,
  SubscribeToTaskRequest,
  Task,
  AgentCard,
  verifyAgentCardSignature,
} from '@a2a-js/sdk';
import {
  ClientFactory,
  ClientFactoryOptions,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';

const { url, binding, token, extensions, calls } = JSON.parse(await text(process.stdin));

const fetchImpl = (target, init = {}) => {
  const headers = new Headers(init.headers);
  if (token) headers.set('authorization', `Bearer ${token}`);
  if (extensions) headers.set('a2a-extensions', extensions.join(', '));
  return fetch(target, { ...init, headers });
};

const { keys } = await (await fetchImpl(`${url}.well-known/jwks.json`)).json();
const resolver = new DefaultAgentCardResolver({ fetchImpl });
const card = await resolver.resolve(url, '.well-known/agent-card.json');
// The operator's key, not wherever the card says that it is.
await verifyAgentCardSignature(async (kid) => keys.find((key) => key.kid === kid))(card);

const transports = [new JsonRpcTransportFactory({ fetchImpl }), new RestTransportFactory({ fetchImpl })];
const options = ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
  transports,
  preferredTransports: [binding],
});
const client = await new ClientFactory(options).createFromAgentCard(card);

async function events(stream, leave) {
  const seen = [];
  for await (const event of stream) {
    seen.push(StreamResponse.toJSON(event));
    if (leave !== undefined && seen.length >= leave) break;
  }
  return { events: seen };
}

async function answer(call) {
  if (call.send && call.stream) {
    return events(client.sendMessageStream(SendMessageRequest.fromJSON(call.send)), call.leave);
  }
  if (call.send) {
    const result = await client.sendMessage(SendMessageRequest.fromJSON(call.send));
    const event = 'messageId' in result ? { message: Message.toJSON(result) } : { task: Task.toJSON(result) };
    return { events: [event] };
  }
  if (call.subscribe) return events(client.resubscribeTask(SubscribeToTaskRequest.fromJSON(call.subscribe)));
  if (call.get) return { task: Task.toJSON(await client.getTask(GetTaskRequest.fromJSON(call.get))) };
  if (call.cancel) return { task: Task.toJSON(await client.cancelTask(CancelTaskRequest.fromJSON(call.cancel))) };
  return { list: ListTasksResponse.toJSON(await client.listTasks(ListTasksRequest.fromJSON(call.list))) };
}

const results = [];
for (const call of calls) {
  results.push(
    await answer(call).catch((error) => ({ error: { type: error.constructor.name, message: error.message } })),
  );
}
process.stdout.write(JSON.stringify({ card: AgentCard.toJSON(card), results }));
