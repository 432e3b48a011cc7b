// The official facilitator behind HTTP, on whatever chain.

import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';

/**
 * Serves a facilitator on a free loopback port, with its calls counted and `more` routes beside it; `listening` gets the URL.
 */
export function serve(facilitator, listening, more = {}) {
  const calls = { verify: 0, settle: 0 };
  const routes = {
    ...more,
    'GET /calls': () => calls,
    'GET /supported': () => facilitator.getSupported(),
    'POST /verify': ({ paymentPayload, paymentRequirements }) => {
      calls.verify += 1;
      return facilitator.verify(paymentPayload, paymentRequirements);
    },
    'POST /settle': ({ paymentPayload, paymentRequirements }) => {
      calls.settle += 1;
      return facilitator.settle(paymentPayload, paymentRequirements);
    },
  };

  async function answer(request) {
    const route = routes[`${request.method} ${request.url}`];
    if (!route) return [404, { error: 'no such path' }];
    try {
      return [200, await route(request.method === 'POST' ? await json(request) : undefined)];
    } catch (error) {
      return [error instanceof SyntaxError ? 400 : 500, { error: error.message }];
    }
  }

  const server = createServer(async (request, response) => {
    const [status, body] = await answer(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1', () => listening(`http://127.0.0.1:${server.address().port}`));
}
