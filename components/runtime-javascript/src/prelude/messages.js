// What requests and responses are made of, by the Fetch Standard: headers, bodies, and both of them.
(function (native, shared) {
  "use strict";

  const { parse, stringify } = JSON;
  const { AbortSignal, ReadableStream, ReadableStreamDefaultReader, URL, URLSearchParams } = globalThis;

  // Headers.

  const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
  // What is for the connection, or for who makes it.
  const FORBIDDEN = new Set([
    "accept-charset", "accept-encoding", "connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
    "set-cookie", "te", "trailer", "transfer-encoding", "upgrade",
  ]);
  const is_forbidden = (name) => FORBIDDEN.has(name) || name.startsWith("proxy-");

  const name_of = (name) => {
    name = String(name);
    if (!TOKEN.test(name)) throw new TypeError(`${shared.inspect(name)} is no name of a header`);
    return name.toLowerCase();
  };
  const value_of = (name, value) => {
    value = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
    if (/[\0\n\r]|[^\0-\xff]/.test(value)) throw new TypeError(`${shared.inspect(value)} is no value of the header '${name}'`);
    return value;
  };

  let guarded, filled, listed;
  class Headers {
    #pairs = []; #guard = "none";
    static {
      guarded = (guard, pairs = []) => {
        const headers = new Headers();
        [headers.#guard, headers.#pairs] = [guard, pairs];
        return headers;
      };
      filled = (headers, from) => { headers.#fill(from); return headers; };
      listed = (headers) => headers.#pairs;
    }
    constructor(from = undefined) { this.#fill(from); }
    #fill(from) {
      if (from === undefined) return;
      if (typeof from !== "object" || from === null) throw new TypeError("headers are an object, or a list of pairs");
      if (from instanceof Headers) {
        for (const [name, value] of [...from.#pairs]) this.append(name, value);
      } else if (typeof from[Symbol.iterator] === "function") {
        for (const pair of from) {
          const [name, value, ...more] = pair;
          if (value === undefined || more.length) throw new TypeError("a header is a pair of a name and a value");
          this.append(name, value);
        }
      } else {
        for (const name of Object.keys(from)) this.append(name, from[name]);
      }
    }
    /** Whether something may be changed. */
    #may(name) {
      if (this.#guard === "immutable") throw new TypeError("the headers of this response cannot be changed");
      return this.#guard !== "request" || !is_forbidden(name);
    }
    append(name, value) {
      name = name_of(name);
      value = value_of(name, value);
      if (this.#may(name)) this.#pairs.push([name, value]);
    }
    set(name, value) {
      name = name_of(name);
      value = value_of(name, value);
      if (!this.#may(name)) return;
      const at = this.#pairs.findIndex(([it]) => it === name);
      this.#pairs = this.#pairs.filter(([it], index) => it !== name || index === at);
      if (at < 0) this.#pairs.push([name, value]); else this.#pairs[at] = [name, value];
    }
    delete(name) {
      name = name_of(name);
      if (this.#may(name)) this.#pairs = this.#pairs.filter(([it]) => it !== name);
    }
    get(name) {
      name = name_of(name);
      const values = this.#pairs.filter(([it]) => it === name).map(([, value]) => value);
      return values.length ? values.join(", ") : null;
    }
    has(name) {
      name = name_of(name);
      return this.#pairs.some(([it]) => it === name);
    }
    getSetCookie() { return this.#pairs.filter(([it]) => it === "set-cookie").map(([, value]) => value); }
    forEach(what, self) { for (const [name, value] of this) what.call(self, value, name, this); }
    *keys() { for (const [name] of this) yield name; }
    *values() { for (const [, value] of this) yield value; }
    *entries() {
      for (const name of [...new Set(this.#pairs.map(([it]) => it))].sort()) {
        if (name === "set-cookie") for (const value of this.getSetCookie()) yield [name, value];
        else yield [name, this.get(name)];
      }
    }
    [Symbol.iterator]() { return this.entries(); }
    get [Symbol.toStringTag]() { return "Headers"; }
    get [shared.view]() { return Object.fromEntries(this); }
  }

  // Bodies.

  /** The bytes or the stream of a body, and its type. */
  const extracted = (body) => {
    if (body instanceof ReadableStream) {
      if (body.locked || shared.is_disturbed(body)) throw new TypeError("a stream that was read or has a reader cannot be a body");
      return { stream: body };
    }
    if (body instanceof URLSearchParams) {
      return { bytes: native.encode(String(body)), type: "application/x-www-form-urlencoded;charset=UTF-8" };
    }
    if (body instanceof ArrayBuffer) return { bytes: new Uint8Array(body.slice(0)) };
    if (ArrayBuffer.isView(body)) return { bytes: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() };
    return { bytes: native.encode(String(body).toWellFormed()), type: "text/plain;charset=UTF-8" };
  };

  const collected = async (stream) => {
    const reader = new ReadableStreamDefaultReader(stream), pieces = [];
    let length = 0;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      if (!(value instanceof Uint8Array)) {
        const error = new TypeError("a body is of pieces that are Uint8Array");
        reader.cancel(error).catch(() => {});
        throw error;
      }
      pieces.push(value);
      length += value.length;
    }
    if (pieces.length === 1 && pieces[0].length === pieces[0].buffer.byteLength) return pieces[0];
    const all = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  };
  const text_of = (bytes) => native.decode(bytes, false).replace(/^\uFEFF/, "");

  let twin_of, moved;
  /** What requests and responses have in common. */
  class Message {
    #body = null; #is_used = false;
    constructor(body) { this.#body = body; }

    get body() {
      if (this.#body === null) return null;
      if (this.#body.stream === undefined) {
        const bytes = this.#body.bytes;
        this.#body.stream = new ReadableStream({
          start(controller) {
            if (bytes.length) controller.enqueue(bytes);
            controller.close();
          },
        });
        if (this.#is_used) this.#body.stream.cancel();
      }
      return this.#body.stream;
    }
    get bodyUsed() {
      const stream = this.#body?.stream;
      return stream ? shared.is_disturbed(stream) : this.#is_used;
    }
    #usable() {
      if (this.bodyUsed) throw new TypeError("the body was read already");
      if (this.#body?.stream?.locked) throw new TypeError("the body has a reader already");
    }
    /** The bytes, which are given once. */
    async #taken() {
      this.#usable();
      if (this.#body === null) return new Uint8Array();
      if (this.#body.stream) return collected(this.#body.stream);
      this.#is_used = true;
      return this.#body.bytes;
    }
    async arrayBuffer() { return (await this.#taken()).buffer; }
    async bytes() { return this.#taken(); }
    async text() { return text_of(await this.#taken()); }
    async json() { return parse(text_of(await this.#taken())); }

    static {
      shared.has_body = (message) => message.#body !== null;
      /** The body for a copy, which has bytes of its own. */
      twin_of = (message) => {
        message.#usable();
        if (!message.#body?.stream) return message.#body?.bytes;
        const [stream, twin] = shared.tee(message.#body.stream, true);
        message.#body = { ...message.#body, stream };
        return twin;
      };
      /** The body for who takes it over. */
      moved = (message) => {
        message.#usable();
        const body = message.#body;
        if (!body) return null;
        if (!body.stream) {
          message.#is_used = true;
          return { ...body };
        }
        const [stream, rest] = shared.tee(body.stream, false);
        rest.cancel().catch(() => {});
        return { stream };
      };
    }
  }

  // Requests.

  const METHODS = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]);
  const method_of = (method) => {
    method = String(method);
    const upper = method.toUpperCase();
    if (!TOKEN.test(method) || ["CONNECT", "TRACE", "TRACK"].includes(upper)) throw new TypeError(`${shared.inspect(method)} is no method for a request`);
    return METHODS.has(upper) ? upper : method;
  };
  const url_of = (input) => {
    const url = URL.parse(input);
    if (url === null) throw new TypeError(`${shared.inspect(String(input))} is no URL; it must be absolute`);
    if (url.username || url.password) throw new TypeError("a URL with a user or a password cannot be requested; send the header 'authorization'");
    return url.href;
  };

  class Request extends Message {
    #url; #method; #headers; #redirect; #signal;
    constructor(input, init = undefined) {
      init ??= {};
      const from = input instanceof Request ? input : undefined;
      const url = from ? from.#url : url_of(input);
      const method = init.method === undefined ? from?.#method ?? "GET" : method_of(init.method);
      const redirect = init.redirect === undefined ? from?.#redirect ?? "follow" : String(init.redirect);
      if (!["follow", "error", "manual"].includes(redirect)) throw new TypeError(`${shared.inspect(redirect)} is no way to treat redirects`);
      const signal = init.signal === undefined ? from?.#signal : init.signal;
      if (signal && !(signal instanceof AbortSignal)) throw new TypeError("'signal' is no AbortSignal");
      const headers = filled(guarded("request"), init.headers ?? from?.#headers);
      const given = init.body ?? null;
      if ((given !== null || (from && shared.has_body(from))) && ["GET", "HEAD"].includes(method)) throw new TypeError(`a request with the method ${method} has no body`);
      const body = given !== null ? extracted(given) : from ? moved(from) : null;
      if (given !== null && body.type && !headers.has("content-type")) headers.append("content-type", body.type);
      super(body);
      [this.#url, this.#method, this.#headers, this.#redirect] = [url, method, headers, redirect];
      this.#signal = signal ?? new AbortSignal();
    }
    get url() { return this.#url; }
    get method() { return this.#method; }
    get headers() { return this.#headers; }
    get redirect() { return this.#redirect; }
    get signal() { return this.#signal; }
    clone() {
      const body = twin_of(this);
      return new Request(this.#url, { method: this.#method, headers: this.#headers, redirect: this.#redirect, signal: this.#signal, body });
    }
    get [Symbol.toStringTag]() { return "Request"; }
    get [shared.view]() { return { method: this.#method, url: this.#url, headers: this.#headers, bodyUsed: this.bodyUsed }; }
  }

  // Responses.

  const BODILESS = new Set([101, 103, 204, 205, 304]);

  let responded;
  class Response extends Message {
    #status = 200; #status_text = ""; #headers = guarded("response"); #type = "default"; #url = ""; #is_redirected = false;
    constructor(body = null, init = undefined) {
      init ??= {};
      const made = (body ?? null) === null ? null : extracted(body);
      super(made);
      this.#begin(init, made);
    }
    #begin({ status = 200, statusText = "", headers }, body) {
      status = Number(status);
      if (!(status >= 200 && status <= 599)) throw new RangeError(`a response's status is from 200 to 599, not ${status}`);
      if (/[^\t\x20-\x7e\x80-\xff]/.test(String(statusText))) throw new TypeError("'statusText' is of one line");
      if (body && BODILESS.has(status)) throw new TypeError(`a response with the status ${status} has no body`);
      [this.#status, this.#status_text] = [Math.trunc(status), String(statusText)];
      filled(this.#headers, headers);
      if (body?.type && !this.#headers.has("content-type")) this.#headers.append("content-type", body.type);
    }
    static {
      /** A response that came. */
      responded = ({ stream, status, pairs, url, is_redirected }) => {
        const response = new Response(stream);
        [response.#status, response.#headers, response.#type] = [status, guarded("immutable", pairs), "basic"];
        [response.#url, response.#is_redirected] = [url, is_redirected];
        return response;
      };
    }
    static json(data, init = undefined) {
      const text = stringify(data);
      if (text === undefined) throw new TypeError(`${shared.inspect(data)} has no form in JSON`);
      const headers = new Headers(init?.headers);
      if (!headers.has("content-type")) headers.set("content-type", "application/json");
      return new Response(text, { ...init, headers });
    }
    static error() {
      const response = new Response();
      [response.#status, response.#type, response.#headers] = [0, "error", guarded("immutable")];
      return response;
    }
    static redirect(url, status = 302) {
      if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`${status} is no status of a redirect`);
      const response = new Response(null, { status });
      response.#headers = guarded("immutable", [["location", new URL(url).href]]);
      return response;
    }
    get type() { return this.#type; }
    get url() { return this.#url; }
    get redirected() { return this.#is_redirected; }
    get status() { return this.#status; }
    get ok() { return this.#status >= 200 && this.#status <= 299; }
    get statusText() { return this.#status_text; }
    get headers() { return this.#headers; }
    clone() {
      const response = new Response(twin_of(this));
      [response.#status, response.#status_text, response.#type] = [this.#status, this.#status_text, this.#type];
      [response.#url, response.#is_redirected] = [this.#url, this.#is_redirected];
      response.#headers = guarded(this.#type === "default" ? "response" : "immutable", [...listed(this.#headers)]);
      return response;
    }
    get [Symbol.toStringTag]() { return "Response"; }
    get [shared.view]() {
      return { status: this.#status, url: this.#url, headers: this.#headers, bodyUsed: this.bodyUsed };
    }
  }

  Object.assign(globalThis, { Headers, Request, Response });
  Object.assign(shared, { responded, pairs_of: listed, is_bodiless: (status) => BODILESS.has(status) });
})
