// The official facilitator (@x402/core with the schemes exact, versions 1 and 2, and upto of @x402/evm) on a free loopback port.
// Usage: node facilitator.mjs RPC_URL [CONFIRMATION_TIMEOUT_MS]
// Prints {url, account}. GET /calls counts the calls so far: {verify, settle}.

import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { registerExactEvmScheme } from '@x402/evm/exact/facilitator';
import { UptoEvmScheme } from '@x402/evm/upto/facilitator';
import { createTestClient, http, parseEther, publicActions, walletActions } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { baseSepolia } from 'viem/chains';

import { serve } from './desk.mjs';
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

serve(facilitator, (url) => ready({ url, account: account.address }));
