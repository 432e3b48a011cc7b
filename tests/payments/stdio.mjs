// How these scripts talk to the test that started them: JSON over stdin and stdout.

import { webcrypto } from 'node:crypto';
import { text } from 'node:stream/consumers';

/**
 * Prints the one line that says this part is up, then ends the process when stdin closes or on a signal, after `stop`
 * is done.
 */
export function ready(facts, stop = async () => {}) {
  const end = () => stop().then(() => process.exit(0));
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, end);
  process.stdin.on('close', end).resume();
  process.stdout.write(`${JSON.stringify(facts)}\n`);
}

// The clients use it as a global, which Node.js 18 does not have.
globalThis.crypto ??= webcrypto;

/** What is on stdin. */
export const input = async () => JSON.parse(await text(process.stdin));

/**
 * Sends the request on stdin, or this one, with this `fetch` and prints the answer.
 * In: {url, method, headers, body (base64, optional), privateKey}. Out: {status, headers, body (base64)}.
 * `wrap` makes a fetch that pays from a private key. What it throws goes to stderr, with exit code 1.
 */
export async function payOnce(wrap, request) {
  const { url, method, headers, body, privateKey } = request ?? (await input());
  try {
    const fetchAndPay = await wrap(privateKey);
    const answer = await fetchAndPay(url, {
      method,
      headers,
      body: body ? Buffer.from(body, 'base64') : undefined,
    });
    process.stdout.write(
      JSON.stringify({
        status: answer.status,
        headers: Object.fromEntries(answer.headers),
        body: Buffer.from(await answer.arrayBuffer()).toString('base64'),
      }),
    );
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
