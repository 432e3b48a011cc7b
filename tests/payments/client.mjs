// The official client (@x402/fetch), with its default policies: pays v2 offers, and v1 offers in a body.

import { registerExactEvmScheme } from '@x402/evm/exact/client';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { privateKeyToAccount } from 'viem/accounts';

import { payOnce } from './stdio.mjs';

await payOnce((privateKey) => {
  const client = new x402Client();
  registerExactEvmScheme(client, { signer: privateKeyToAccount(privateKey) });
  return wrapFetchWithPayment(fetch, client);
});
