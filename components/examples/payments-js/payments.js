// Takes tickets that are sold beforehand, at a counter say. A ticket is a number and, so that nobody else makes any, its HMAC-SHA-256
// under the counter's key. Each is good for one request.
//
//   X-Ticket: 4711.c0ffee…        64 hexadecimal digits behind the point

import { getEnvironment } from "wasi:cli/environment@0.2.12";
import { hmacVerify } from "hypervisor:plugin/crypto@0.1.1";

const FIELD = "x-ticket";
const NETWORK = "ticket:counter";

export const paymentFields = { names: () => [FIELD] };

export const quote = {
  quote(price, payTo, { maxTimeoutSeconds }) {
    if (price !== "1 TICKET") throw { tag: "invalid-offer", val: "a request costs `1 TICKET`" };
    return [{ scheme: "ticket", network: NETWORK, asset: "ticket", amount: "1", payTo, maxTimeoutSeconds }];
  },
};

export const payment = {
  challenge: () => challenge("payment_required"),

  identify: (offers, headers) => ticket(headers)?.payment.id,

  verify(info, offers, headers) {
    const refused = (reason) => ({ tag: "refused", val: { reason, challenge: challenge(reason) } });
    const found = ticket(headers);
    if (found === undefined) return refused("payment_required");
    try {
      hmacVerify("sha256", key(), bytes(found.number), found.tag);
    } catch {
      return refused("invalid_ticket");
    }
    return { tag: "authorized", val: { ...found.payment, payTo: offers[0].payTo } };
  },

  // It was paid for at the counter.
  settle: ({ id, amount }) => ({ tag: "settled", val: { id, amount, transaction: id.nonce, headers: [] } }),

  reconcile(payment) {
    return this.settle(payment);
  },
};

// The ticket that the one header field has; undefined where there is none.
function ticket(headers) {
  const ours = headers.filter(({ name }) => name.toLowerCase() === FIELD);
  const [, number, tag] = /^(\d{1,18})\.([0-9a-f]{64})$/.exec(ours[0]?.value ?? "") ?? [];
  if (ours.length !== 1 || number === undefined) return undefined;
  const id = { chain: NETWORK, asset: "ticket", payer: number, nonce: number };
  // A ticket is good for ever: that is the last second that 32 bits have.
  const payment = { id, amount: "1", validBefore: 0xffffffff, state: new Uint8Array() };
  return { number, tag: unhex(tag), payment };
}

function key() {
  const hex = getEnvironment().find(([name]) => name === "TICKET_KEY")?.[1] ?? "";
  if (!/^[0-9a-f]{64}$/.test(hex)) throw { tag: "internal-error", val: "TICKET_KEY: not 32 bytes in hexadecimal" };
  return unhex(hex);
}

function challenge(error) {
  const headers = [{ name: "content-type", value: "application/json" }];
  return { status: 402, headers, body: bytes(JSON.stringify({ error, field: FIELD })) };
}

const bytes = (ascii) => Uint8Array.from(ascii, (character) => character.charCodeAt(0));
const unhex = (hex) => Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
