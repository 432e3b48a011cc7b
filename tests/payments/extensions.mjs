// The official client with official extensions, and the official judges of what a server declares.
// In: {name, …}. Out: one line of JSON.

import { validateDiscoveryExtension, validateDiscoveryExtensionSpec, withBazaar } from '@x402/extensions/bazaar';
import { extractJWSHeader, extractPublicKeyFromKid, verifyReceiptSignatureJWS } from '@x402/extensions/offer-receipt';
import {
  PAYMENT_IDENTIFIER,
  appendPaymentIdentifierToExtensions,
  validatePaymentIdentifier,
} from '@x402/extensions/payment-identifier';
import { registerExactEvmScheme } from '@x402/evm/exact/client';
import { HTTPFacilitatorClient } from '@x402/core/server';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { exportJWK } from 'jose';
import { privateKeyToAccount } from 'viem/accounts';

import { input, payOnce } from './stdio.mjs';

const asked = await input();

/** Pays, and calls the purchase `identifier`. */
async function pay() {
  await payOnce((privateKey) => {
    const client = new x402Client();
    registerExactEvmScheme(client, { signer: privateKeyToAccount(privateKey) });
    client.onBeforePaymentCreation(async ({ paymentRequired }) => {
      appendPaymentIdentifierToExtensions(paymentRequired.extensions, asked.identifier);
    });
    return wrapFetchWithPayment(fetch, client);
  }, asked);
}

/** What is wrong with the extensions of a challenge. */
function judge() {
  const { bazaar, [PAYMENT_IDENTIFIER]: identifier } = asked.extensions;
  const problems = [validateDiscoveryExtension(bazaar), validateDiscoveryExtensionSpec(bazaar), validatePaymentIdentifier(identifier)]
    .filter(({ valid }) => !valid)
    .flatMap(({ errors }) => errors);
  process.stdout.write(JSON.stringify(problems));
}

/** What a receipt says, once it is verified; the key that it is verified by, and what its header says besides. */
async function verify() {
  const payload = await verifyReceiptSignatureJWS(asked.receipt);
  const header = extractJWSHeader(asked.receipt.signature);
  const { x, y } = await exportJWK(await extractPublicKeyFromKid(header.kid));
  const [left, right] = [x, y].map((half) => Buffer.from(half, 'base64url'));
  const key = Buffer.concat([Buffer.from([2 + (right.at(-1) & 1)]), left]).toString('hex');
  const statement = Buffer.from(header.statement, 'base64url').toString('hex');
  process.stdout.write(JSON.stringify({ payload, key, statement }));
}

/** What the bazaar's client finds at a host. */
async function discover() {
  const bazaar = withBazaar(new HTTPFacilitatorClient({ url: asked.url })).extensions.bazaar;
  process.stdout.write(JSON.stringify(await bazaar.listResources(asked.query)));
}

await { pay, judge, verify, discover }[asked.name]();
