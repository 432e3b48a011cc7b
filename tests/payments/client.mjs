// The official client (@x402/fetch), with its default policies: pays v2 offers of exact and upto, and v1 offers in a body.

import { registerExactEvmScheme } from '@x402/evm/exact/client';
import { UptoEvmScheme } from '@x402/evm/upto/client';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { privateKeyToAccount } from 'viem/accounts';

import { payOnce } from './stdio.mjs';

await payOnce((privateKey) => {
  const client = new x402Client();
  const signer = privateKeyToAccount(privateKey);
  registerExactEvmScheme(client, { signer });
  client.register('eip155:*', new UptoEvmScheme(signer));
  return wrapFetchWithPayment(fetch, client);
});
