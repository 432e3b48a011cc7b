// The official client (@x402/fetch) with the official scheme for Solana, and its default policies.
// Usage: node client-solana.mjs RPC_URL

import { createKeyPairSignerFromPrivateKeyBytes } from '@solana/kit';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { ExactSvmScheme } from '@x402/svm/exact/client';

import { payOnce } from './stdio.mjs';

const [rpcUrl] = process.argv.slice(2);

await payOnce(async (privateKey) => {
  const signer = await createKeyPairSignerFromPrivateKeyBytes(Buffer.from(privateKey, 'hex'));
  const client = new x402Client().register('solana:*', new ExactSvmScheme(signer, { rpcUrl }));
  return wrapFetchWithPayment(fetch, client);
});
