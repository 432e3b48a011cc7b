// Takes prepaid vouchers: no chain, no network. An issuer sells them and signs them on P-256 (ES256); a client sends one with its
// request, both parts in base64url:
//
//   X-Voucher: base64url({"id":"…","amount":"3","pay_to":"shop","valid_before":1800000000}).base64url(signature)
//
// Its id is what the host reserves, so each is good for one request, and settling has nothing to do.

import { getEnvironment } from "wasi:cli/environment@0.2.12";
import { p256Verify } from "hypervisor:plugin/crypto@0.1.1";

const FIELD = "x-voucher";
const NETWORK = "voucher:issuer";

// The header fields that payments are in.
export const paymentFields = { names: () => [FIELD] };

export const quote = {
  // The offers for a price, which the operator writes like `3 CREDIT`.
  quote(price, payTo, terms) {
    const amount = /^([1-9][0-9]*) CREDIT$/.exec(price)?.[1];
    if (amount === undefined) {
      throw { tag: "invalid-offer", val: `\`${price}\` is not a number of credits; write it like \`3 CREDIT\`` };
    }
    const maxTimeoutSeconds = terms.maxTimeoutSeconds;
    return [{ scheme: "voucher", network: NETWORK, asset: "voucher", amount, payTo, maxTimeoutSeconds }];
  },
};

export const payment = {
  // The response to a request that does not pay.
  challenge(info, offers) {
    issuer();
    return challenge("payment_required", info, offers);
  },

  // Which payment the headers carry. Nothing is checked yet.
  identify(offers, headers) {
    return read(headers)?.payment.id;
  },

  // Whether they pay for it: only the operator's offers count, and nothing that a client says about them.
  verify(info, offers, headers) {
    const key = issuer();
    const found = read(headers);
    const refused = (reason) => ({
      tag: "refused",
      val: { reason, challenge: challenge(reason, info, offers) },
    });
    if (found === undefined) return refused("payment_required");
    const { payment, payload, signature } = found;
    if (!isSigned(key, payload, signature)) return refused("invalid_signature");
    const pays = (offer) => offer.amount === payment.amount && offer.payTo === payment.payTo;
    if (!offers.some(pays)) return refused("invalid_payment_requirements");
    if (payment.validBefore <= Date.now() / 1000) return refused("voucher_expired");
    return { tag: "authorized", val: payment };
  },

  // The issuer was paid when it sold the voucher.
  settle(payment) {
    const { id, amount } = payment;
    return { tag: "settled", val: { id, amount, transaction: id.nonce, headers: [] } };
  },

  // What became of a payment whose settlement was not heard of.
  reconcile(payment) {
    return this.settle(payment);
  },
};

// The issuer's public key, from [payments.environment].
function issuer() {
  const hex = getEnvironment().find(([name]) => name === "VOUCHER_ISSUER")?.[1] ?? "";
  if (!/^([0-9a-f]{66}|[0-9a-f]{130})$/.test(hex)) {
    throw { tag: "internal-error", val: "VOUCHER_ISSUER: not a public key" };
  }
  return Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
}

// What the one header field says that is ours; undefined where there is none, or it says nothing.
function read(headers) {
  const ours = headers.filter((header) => header.name.toLowerCase() === FIELD);
  if (ours.length !== 1 || ours[0].value.length > 4096) return undefined;
  const [payload, signature, ...rest] = ours[0].value.trim().split(".").map(decoded);
  if (payload === undefined || signature === undefined || rest.length > 0) return undefined;
  let voucher;
  try {
    voucher = JSON.parse(decodeURIComponent(escape(String.fromCharCode(...payload))));
  } catch {
    return undefined;
  }
  const { id, amount, pay_to: payTo, valid_before: until } = voucher ?? {};
  if (![id, amount, payTo].every((text) => typeof text === "string") || !Number.isSafeInteger(until) || until < 0) {
    return undefined;
  }
  const payment = {
    // Prepaid: each is a purse of its own.
    id: { chain: NETWORK, asset: "voucher", payer: id, nonce: id },
    amount,
    payTo,
    // A number, as this engine has all integers.
    validBefore: until,
    state: new Uint8Array(),
  };
  return { payment, payload, signature };
}

function isSigned(key, payload, signature) {
  try {
    p256Verify(key, payload, signature);
    return true;
  } catch {
    return false;
  }
}

function challenge(error, info, offers) {
  const accepts = offers.map((offer) => ({ amount: offer.amount, pay_to: offer.payTo }));
  const header = (name, value) => ({ name, value });
  return {
    status: 402,
    headers: [header("content-type", "application/json"), header("cache-control", "no-store")],
    body: utf8(JSON.stringify({ error, resource: info.url, accepts })),
  };
}

// This engine, which is small, has no TextEncoder and no TextDecoder.
function utf8(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (character) => character.charCodeAt(0));
}

// Base64url without padding; undefined where it is something else.
function decoded(text) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const bytes = [];
  let bits = 0;
  let held = 0;
  for (const character of text) {
    const value = alphabet.indexOf(character);
    if (value < 0) return undefined;
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return Uint8Array.from(bytes);
}
