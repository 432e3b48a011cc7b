// The official client of protocol version 1 (x402-fetch), with its default policies: it knows nothing of version 2.

import { createSigner, wrapFetchWithPayment } from 'x402-fetch';

import { payOnce } from './stdio.mjs';

await payOnce(async (privateKey) => wrapFetchWithPayment(fetch, await createSigner('base-sepolia', privateKey)));
