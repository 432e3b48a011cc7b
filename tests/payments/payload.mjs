// The official client's payment for a challenge that came by something else than HTTP. In, on stdin: {required, privateKey}. Out: the payload.

import { registerExactEvmScheme } from '@x402/evm/exact/client';
import { x402Client } from '@x402/fetch';
import { privateKeyToAccount } from 'viem/accounts';

import { input } from './stdio.mjs';

const { required, privateKey } = await input();
const client = new x402Client();
registerExactEvmScheme(client, { signer: privateKeyToAccount(privateKey) });
process.stdout.write(JSON.stringify(await client.createPaymentPayload(required)));
