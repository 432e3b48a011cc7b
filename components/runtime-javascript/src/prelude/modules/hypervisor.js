// What the host offers beyond the language: its own cryptography, at native speed.
const { native } = globalThis.__shared;
const bytes = (value) => typeof value === "string" ? new TextEncoder().encode(value)
  : ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
/** SHA-256, SHA-384, SHA-512 or Keccak-256 of text or bytes. */
export const digest = (data, algorithm = "SHA-256") => native.digest(String(algorithm).toUpperCase(), bytes(data));
/** HMAC of text or bytes. */
export const hmac = (key, data, algorithm = "SHA-256") => native.hmac(String(algorithm).toUpperCase(), bytes(key), bytes(data));
export default { digest, hmac };
