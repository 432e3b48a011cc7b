// Text and bytes: the Encoding Standard for UTF-8, and base64.
(function (native) {
  "use strict";

  const view = (value) => {
    if (value === undefined) return new Uint8Array();
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
    throw new TypeError("not an ArrayBuffer or a view of one");
  };

  globalThis.TextEncoder = class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") { return native.encode(String(text).toWellFormed()); }
    encodeInto(text, into) {
      let [read, written] = [0, 0];
      for (const it of String(text).toWellFormed()) {
        const bytes = native.encode(it);
        if (written + bytes.length > into.length) break;
        into.set(bytes, written);
        written += bytes.length;
        read += it.length;
      }
      return { read, written };
    }
  };

  const labels = ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"];
  /** How many bytes at the end begin a character that is not whole. */
  const unfinished = (bytes) => {
    for (let back = 1; back <= Math.min(3, bytes.length); back++) {
      const byte = bytes[bytes.length - back];
      if ((byte & 0xc0) === 0x80) continue;
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
      return length > back ? back : 0;
    }
    return 0;
  };
  globalThis.TextDecoder = class TextDecoder {
    #fatal; #keeps; #rest = new Uint8Array(); #begun = false;
    constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
      if (!labels.includes(String(label).trim().toLowerCase())) throw new RangeError(`unknown encoding: ${label}; only utf-8 is known`);
      [this.#fatal, this.#keeps] = [Boolean(fatal), Boolean(ignoreBOM)];
    }
    get encoding() { return "utf-8"; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#keeps; }
    decode(value, { stream = false } = {}) {
      const added = view(value), rest = this.#rest;
      let bytes = added;
      if (rest.length) {
        bytes = new Uint8Array(rest.length + added.length);
        bytes.set(rest);
        bytes.set(added, rest.length);
      }
      const held = stream ? unfinished(bytes) : 0;
      this.#rest = bytes.slice(bytes.length - held);
      let text = native.decode(bytes.subarray(0, bytes.length - held), this.#fatal);
      if (text === undefined) { this.#rest = new Uint8Array(); this.#begun = false; throw new TypeError("the bytes are not UTF-8"); }
      if (!this.#begun && !this.#keeps && text.startsWith("\ufeff")) text = text.slice(1);
      this.#begun = stream && (this.#begun || text.length > 0);
      return text;
    }
  };

  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  globalThis.btoa = (value) => {
    const text = String(value);
    let made = "";
    for (let at = 0; at < text.length; at += 3) {
      const codes = [0, 1, 2].map((it) => text.charCodeAt(at + it));
      if (codes.some((code) => code > 255)) throw new DOMException("a character is above U+00FF", "InvalidCharacterError");
      const bits = (codes[0] << 16) | ((codes[1] || 0) << 8) | (codes[2] || 0);
      const left = text.length - at;
      made += ALPHABET[bits >> 18] + ALPHABET[(bits >> 12) & 63]
        + (left > 1 ? ALPHABET[(bits >> 6) & 63] : "=") + (left > 2 ? ALPHABET[bits & 63] : "=");
    }
    return made;
  };
  globalThis.atob = (value) => {
    let text = String(value).replace(/[\t\n\f\r ]/g, "");
    if (text.length % 4 === 0) text = text.replace(/={1,2}$/, "");
    if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw new DOMException("not base64", "InvalidCharacterError");
    let made = "", bits = 0, count = 0;
    for (const it of text) {
      bits = ((bits << 6) | ALPHABET.indexOf(it)) & 0xffff;
      count += 6;
      if (count >= 8) { count -= 8; made += String.fromCharCode((bits >> count) & 255); }
    }
    return made;
  };
})
