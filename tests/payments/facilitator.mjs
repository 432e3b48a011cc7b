// The official facilitator (@x402/core with the schemes exact, versions 1 and 2, and upto of @x402/evm) on a free loopback port.
// Usage: node facilitator.mjs RPC_URL [CONFIRMATION_TIMEOUT_MS]
// Prints {url, account}. GET /calls counts the calls so far: {verify, settle}.

import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';

import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { registerExactEvmScheme } from '@x402/evm/exact/facilitator';
import { UptoEvmScheme } from '@x402/evm/upto/facilitator';
import { createTestClient, http, parseEther, publicActions, walletActions } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { baseSepolia } from 'viem/chains';

import { ready } from './stdio.mjs';

const [rpc, confirmationTimeoutMs = '30000'] = process.argv.slice(2);

const account = privateKeyToAccount(generatePrivateKey());
const chain = createTestClient({ mode: 'anvil', account, chain: baseSepolia, transport: http(rpc), pollingInterval: 50 })
  .extend(publicActions)
  .extend(walletActions);
await chain.setBalance({ address: account.address, value: parseEther('100') });

// One transaction at a time: sent at once, two would take the same account nonce.
let last = Promise.resolve();
const inTurn = (send) => (transaction) => {
  const sent = last.then(() => send(transaction));
  last = sent.catch(() => {});
  return sent;
};

const signer = toFacilitatorEvmSigner(
  {
    address: account.address,
    getCode: (query) => chain.getCode(query),
    readContract: (query) => chain.readContract({ ...query, args: query.args ?? [] }),
    verifyTypedData: (query) => chain.verifyTypedData(query),
    writeContract: inTurn((call) => chain.writeContract({ ...call, args: call.args ?? [] })),
    sendTransaction: inTurn((transaction) => chain.sendTransaction(transaction)),
    waitForTransactionReceipt: (query) => chain.waitForTransactionReceipt(query),
  },
  { confirmationTimeoutMs: Number(confirmationTimeoutMs) },
);
const facilitator = new x402Facilitator();
registerExactEvmScheme(facilitator, { signer, networks: `eip155:${baseSepolia.id}` });
facilitator.register(`eip155:${baseSepolia.id}`, new UptoEvmScheme(signer));

const calls = { verify: 0, settle: 0 };
const routes = {
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
server.listen(0, '127.0.0.1', () =>
  ready({ url: `http://127.0.0.1:${server.address().port}`, account: account.address }),
);
