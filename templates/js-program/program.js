// Greets everybody its arguments name, and counts the lines of its standard input.

import { getArguments } from "wasi:cli/environment@0.2.12";
import { getStdin } from "wasi:cli/stdin@0.2.12";

export const run = {
  // Called once.
  run() {
    const names = getArguments().slice(1);
    if (names.length === 0) {
      console.error("name somebody to greet");
      // The program ends with the code 1.
      throw undefined;
    }
    for (const name of names) console.log(`hello, ${name}`);
    console.log(`${new TextDecoder().decode(input()).split("\n").length - 1} lines`);
  },
};

// All of standard input.
function input() {
  const stream = getStdin();
  const pieces = [];
  for (;;) {
    try {
      pieces.push(...stream.blockingRead(65536n));
    } catch (error) {
      if (error?.payload?.tag === "closed" || error?.tag === "closed") return new Uint8Array(pieces);
      throw error;
    }
  }
}
