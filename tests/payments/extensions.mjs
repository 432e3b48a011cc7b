// The official client with official extensions, and the official judges of what a server declares.
// In: {name, …}. Out: one line of JSON.

import { validateDiscoveryExtension, validateDiscoveryExtensionSpec, withBazaar } from '@x402/extensions/bazaar';
import { extractJWSHeader, extractPublicKeyFromKid, verifyReceiptSignatureJWS } from '@x402/extensions/offer-receipt';
import {
  PAYMENT_IDENTIFIER,
  appendPaymentIdentifierToExtensions,
  validatePaymentIdentifier,
} from '@x402/extensions/payment-identifier';
import {
  createSIWxClientExtension,
  createSIWxPayload,
  encodeSIWxHeader,
  wrapFetchWithSIWx,
} from '@x402/extensions/sign-in-with-x';
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

/** Sends a request for a host's public URL to where the host is. A response that names no URL is taken for one of the request's. */
async function there(request) {
  const url = request.url.replace(asked.publicUrl, asked.origin);
  const { method, headers } = request;
  const body = method === 'GET' ? undefined : await request.arrayBuffer();
  const answer = await fetch(url, { method, headers, body });
  return new Response(answer.body, { status: answer.status, headers: answer.headers });
}

/** Asks again for what an account has paid for. */
async function signIn() {
  await payOnce((privateKey) => wrapFetchWithSIWx(there, privateKeyToAccount(privateKey)), asked);
}

/** Pays, unless the account has paid for it. */
async function payUnlessPaid() {
  await payOnce((privateKey) => {
    const signer = privateKeyToAccount(privateKey);
    const client = new x402Client();
    registerExactEvmScheme(client, { signer });
    client.registerExtension(createSIWxClientExtension({ signers: [signer] }));
    return wrapFetchWithPayment(there, client);
  }, asked);
}

/** The header that signs in by what a challenge declares, on the first chain. */
async function proof() {
  const { info, supportedChains } = asked.declared;
  const signer = privateKeyToAccount(asked.privateKey);
  const payload = await createSIWxPayload({ ...info, ...supportedChains[0] }, signer, info.uri);
  process.stdout.write(JSON.stringify(encodeSIWxHeader(payload)));
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

await { pay, signIn, payUnlessPaid, proof, judge, verify, discover }[asked.name]();
