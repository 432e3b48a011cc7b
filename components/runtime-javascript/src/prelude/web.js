// What else every JavaScript platform has: URLs, clones, chance, clocks, events.
(function (native, shared) {
  "use strict";

  globalThis.DOMException = class DOMException extends Error {
    #name;
    constructor(message = "", name = "Error") { super(message); this.#name = String(name); }
    get name() { return this.#name; }
  };

  // URLs, by the URL Standard.

  const decoded = (text) => {
    const bytes = [];
    const raw = native.encode(text.replaceAll("+", " ").toWellFormed());
    for (let at = 0; at < raw.length; at++) {
      const hex = raw[at] === 37 && at + 2 < raw.length ? String.fromCharCode(raw[at + 1], raw[at + 2]) : "";
      if (/^[0-9A-Fa-f]{2}$/.test(hex)) { bytes.push(parseInt(hex, 16)); at += 2; } else bytes.push(raw[at]);
    }
    return native.decode(new Uint8Array(bytes), false);
  };
  const encoded = (text) => encodeURIComponent(text.toWellFormed())
    .replace(/[!'()~]/g, (it) => "%" + it.charCodeAt(0).toString(16).toUpperCase()).replaceAll("%20", "+");

  let changed = () => {};
  globalThis.URLSearchParams = class URLSearchParams {
    #pairs = []; #url;
    static #parse(text) {
      return text.split("&").filter(Boolean).map((pair) => {
        const at = pair.indexOf("=");
        return at < 0 ? [decoded(pair), ""] : [decoded(pair.slice(0, at)), decoded(pair.slice(at + 1))];
      });
    }
    constructor(from = "", url = undefined) {
      this.#url = url?.is_of === shared ? url : undefined;
      if (typeof from === "object" && from !== null && typeof from[Symbol.iterator] === "function") {
        for (const pair of from) {
          const [name, value, ...more] = pair;
          if (value === undefined || more.length) throw new TypeError("a pair must have two items");
          this.#pairs.push([String(name), String(value)]);
        }
      } else if (typeof from === "object" && from !== null) {
        for (const name of Object.keys(from)) this.#pairs.push([name, String(from[name])]);
      } else {
        this.#pairs = URLSearchParams.#parse(String(from).replace(/^\?/, ""));
      }
    }
    #change() { if (this.#url) changed(this.#url.url, String(this)); }
    get size() { return this.#pairs.length; }
    append(name, value) { this.#pairs.push([String(name), String(value)]); this.#change(); }
    delete(name, value) {
      this.#pairs = this.#pairs.filter(([it, its]) => it !== String(name) || (value !== undefined && its !== String(value)));
      this.#change();
    }
    get(name) { return this.#pairs.find(([it]) => it === String(name))?.[1] ?? null; }
    getAll(name) { return this.#pairs.filter(([it]) => it === String(name)).map(([, value]) => value); }
    has(name, value) { return this.#pairs.some(([it, its]) => it === String(name) && (value === undefined || its === String(value))); }
    set(name, value) {
      const at = this.#pairs.findIndex(([it]) => it === String(name));
      this.#pairs = this.#pairs.filter(([it], index) => it !== String(name) || index === at);
      if (at < 0) this.#pairs.push([String(name), String(value)]); else this.#pairs[at][1] = String(value);
      this.#change();
    }
    sort() { this.#pairs.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0); this.#change(); }
    forEach(what, self) { for (const [name, value] of this.#pairs) what.call(self, value, name, this); }
    *keys() { for (const [name] of this.#pairs) yield name; }
    *values() { for (const [, value] of this.#pairs) yield value; }
    *entries() { for (const [name, value] of this.#pairs) yield [name, value]; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return this.#pairs.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join("&"); }
  };

  const parts = ["protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
  globalThis.URL = class URL {
    #href; #search;
    static { changed = (url, query) => { url.#href = native.url_set(url.#href, "search", query); }; }
    constructor(href, base = undefined) {
      this.#href = native.url(String(href).toWellFormed(), base === undefined ? undefined : String(base).toWellFormed());
      if (this.#href === undefined) throw new TypeError("Invalid URL");
    }
    static canParse(href, base) { return URL.parse(href, base) !== null; }
    static parse(href, base) { try { return new URL(href, base); } catch { return null; } }
    get href() { return this.#href; }
    set href(href) {
      const parsed = native.url(String(href).toWellFormed(), undefined);
      if (parsed === undefined) throw new TypeError("Invalid URL");
      this.#href = parsed;
      this.#search = undefined;
    }
    get origin() { return native.url_get(this.#href, "origin"); }
    get searchParams() { return (this.#search ??= new URLSearchParams(this.search, { is_of: shared, url: this })); }
    toString() { return this.#href; }
    toJSON() { return this.#href; }
    static {
      for (const part of parts) {
        Object.defineProperty(URL.prototype, part, {
          enumerable: true, configurable: true,
          get() { return native.url_get(this.#href, part); },
          set(value) {
            this.#href = native.url_set(this.#href, part, String(value).toWellFormed());
            if (part === "search") this.#search = undefined;
          },
        });
      }
    }
  };

  // Copies, by the structured clone algorithm.

  const refused = (value) => new DOMException(`${shared.inspect(value)} could not be cloned`, "DataCloneError");
  const errors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const clone = (value, seen) => {
    if (typeof value === "function" || typeof value === "symbol") throw refused(value);
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return seen.get(value);
    const keep = (made) => { seen.set(value, made); return made; };
    if (value instanceof Boolean || value instanceof Number || value instanceof String || value instanceof BigInt) return keep(Object(value.valueOf()));
    if (value instanceof Date) return keep(new Date(value.getTime()));
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (ArrayBuffer.isView(value)) {
      const buffer = clone(value.buffer, seen);
      return keep(value instanceof DataView ? new DataView(buffer, value.byteOffset, value.byteLength)
        : new value.constructor(buffer, value.byteOffset, value.length));
    }
    if (value instanceof Map) {
      const made = keep(new Map());
      for (const [key, it] of [...value]) made.set(clone(key, seen), clone(it, seen));
      return made;
    }
    if (value instanceof Set) {
      const made = keep(new Set());
      for (const it of [...value]) made.add(clone(it, seen));
      return made;
    }
    if (value instanceof Error) {
      const made = keep(Object.create((errors[value.name] ?? Error).prototype));
      for (const key of ["message", "stack", "cause"]) {
        if (Object.hasOwn(value, key)) Object.defineProperty(made, key, { value: clone(value[key], seen), writable: true, configurable: true });
      }
      return made;
    }
    if ([Promise, WeakMap, WeakSet, WeakRef].some((it) => value instanceof it)) throw refused(value);
    const made = keep(Array.isArray(value) ? new Array(value.length) : {});
    for (const key of Object.keys(value)) made[key] = clone(value[key], seen);
    return made;
  };
  globalThis.structuredClone = (value) => clone(value, new Map());

  // Chance and clocks.

  // What is defined in Rust has no name of its own.
  Math.random = Object.defineProperty(native.random, "name", { value: "random", configurable: true });
  const hexadecimal = (bytes) => Array.from(bytes, (it) => it.toString(16).padStart(2, "0")).join("");
  globalThis.crypto = {
    getRandomValues(into) {
      if (!ArrayBuffer.isView(into) || into instanceof Float32Array || into instanceof Float64Array || into instanceof DataView) {
        throw new DOMException("not an array of integers", "TypeMismatchError");
      }
      if (into.byteLength > 65536) throw new DOMException("more than 65536 bytes", "QuotaExceededError");
      new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(native.random_bytes(into.byteLength));
      return into;
    },
    randomUUID() {
      const bytes = native.random_bytes(16);
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      return hexadecimal(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
    },
    subtle: {
      async digest(algorithm, data) {
        const name = String(algorithm?.name ?? algorithm).toUpperCase();
        if (!["SHA-256", "SHA-384", "SHA-512"].includes(name)) throw new DOMException(`${name} is not supported`, "NotSupportedError");
        const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
        return native.digest(name, bytes).buffer;
      },
    },
  };
  const origin = () => Date.now() - native.now();
  const performance = { timeOrigin: origin(), now: () => native.now() };
  globalThis.performance = performance;
  shared.renewals.push(() => { performance.timeOrigin = origin(); });

  // Events, as far as aborting needs them.

  globalThis.Event = class Event {
    constructor(type, { cancelable = false } = {}) { Object.assign(this, { type: String(type), cancelable, defaultPrevented: false, target: null }); }
    preventDefault() { if (this.cancelable) this.defaultPrevented = true; }
  };
  globalThis.EventTarget = class EventTarget {
    #listeners = new Map();
    addEventListener(type, listener, options) {
      if (!listener) return;
      const all = this.#listeners.get(type) ?? [];
      if (!all.some(([it]) => it === listener)) all.push([listener, Boolean(options?.once)]);
      this.#listeners.set(type, all);
    }
    removeEventListener(type, listener) {
      this.#listeners.set(type, (this.#listeners.get(type) ?? []).filter(([it]) => it !== listener));
    }
    dispatchEvent(event) {
      event.target = this;
      for (const [listener, once] of [...this.#listeners.get(event.type) ?? []]) {
        if (once) this.removeEventListener(event.type, listener);
        if (typeof listener === "function") listener.call(this, event); else listener.handleEvent(event);
      }
      return !event.defaultPrevented;
    }
  };
  let abort;
  globalThis.AbortSignal = class AbortSignal extends EventTarget {
    #reason; #aborted = false;
    onabort = null;
    static {
      abort = (signal, reason) => {
        if (signal.#aborted) return;
        [signal.#aborted, signal.#reason] = [true, reason ?? new DOMException("This operation was aborted", "AbortError")];
        const event = new Event("abort");
        signal.onabort?.(event);
        signal.dispatchEvent(event);
      };
    }
    static abort(reason) { const signal = new AbortSignal(); abort(signal, reason); return signal; }
    static timeout(pause) {
      const signal = new AbortSignal();
      shared.later(() => abort(signal, new DOMException("The operation timed out", "TimeoutError")), pause);
      return signal;
    }
    static any(signals) {
      const all = [...signals], signal = new AbortSignal();
      const first = all.find((it) => it.aborted);
      if (first) abort(signal, first.reason);
      else for (const it of all) it.addEventListener("abort", () => abort(signal, it.reason), { once: true });
      return signal;
    }
    get aborted() { return this.#aborted; }
    get reason() { return this.#reason; }
    throwIfAborted() { if (this.#aborted) throw this.#reason; }
  };
  globalThis.AbortController = class AbortController {
    signal = new AbortSignal();
    abort(reason) { abort(this.signal, reason); }
  };
  globalThis.queueMicrotask ??= (what) => { Promise.resolve().then(what); };
  shared.native = native;
})
