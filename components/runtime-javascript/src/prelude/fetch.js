// `fetch`: sending requests, following redirects, and bodies that are read as they come.
(function (native, shared) {
  "use strict";

  const { ReadableStream, Request, URL } = globalThis;
  const REDIRECTS = new Set([301, 302, 303, 307, 308]), MOST_REDIRECTS = 20;
  // What says something of a body that is not sent on.
  const OF_A_BODY = ["content-encoding", "content-language", "content-location", "content-type"];
  // What is meant for one origin.
  const OF_AN_ORIGIN = ["authorization", "cookie"];

  // Those that wait for something to arrive, by their numbers.
  const waiting = new Map();
  shared.arrived = (id, what, ...values) => waiting.get(id)?.arrived(what, values);
  shared.forget = () => { waiting.clear(); };
  shared.renewals.push(shared.forget);

  /** What was sent, until nothing more comes of it. */
  class Exchange {
    #id = 0; #waiter; #signal; #reasons = []; #failure;
    #abort = () => this.end(this.#signal.reason);
    constructor(signal) {
      // An error's place is where it is made: the call.
      [this.#signal, this.#failure] = [signal, new TypeError("fetch failed")];
      signal.addEventListener("abort", this.#abort);
    }
    /** Sends a request, instead of what was sent before. */
    send({ method, url, pairs, body }) {
      native.fetch_end(this.#id);
      this.#id = native.fetch_start(method, url, pairs.flat(), body);
      return this.#arrival();
    }
    /** The next piece of the body, or nothing at its end. */
    async next() {
      if (this.#reasons.length) throw this.#reasons[0];
      if (!native.fetch_next(this.#id)) throw this.failed("the body ended with the setup, the turn or the call that it came in");
      return this.#arrival();
    }
    #arrival() {
      waiting.set(this.#id, this);
      this.#waiter = Promise.withResolvers();
      return this.#waiter.promise;
    }
    arrived(what, values) {
      waiting.delete(this.#id);
      const { resolve, reject } = this.#waiter;
      this.#waiter = undefined;
      switch (what) {
        case "response": return resolve(values);
        case "piece": return resolve(values[0]);
        case "end": this.end(); return resolve();
        default: this.end(); return reject(this.failed(...values));
      }
    }
    /** An error, with the name of what went wrong as its cause's code. */
    failed(words, code = undefined) {
      const cause = code && Object.assign(new Error(words), { code });
      const property = (value) => ({ value, writable: true, configurable: true });
      return Object.defineProperties(this.#failure, {
        message: property(`fetch failed: ${words}`),
        ...cause && { cause: property(cause) },
      });
    }
    /** Drops what is under way. With a reason, that is what who waits gets to know. */
    end(...reasons) {
      this.#signal.removeEventListener("abort", this.#abort);
      this.#reasons = reasons;
      native.fetch_end(this.#id);
      waiting.delete(this.#id);
      this.#waiter?.reject(reasons[0]);
      this.#waiter = undefined;
    }
  }

  // A body that nobody can read any more holds no connection.
  const unread = new FinalizationRegistry((exchange) => exchange.end());

  const stream_of = (exchange) => {
    const source = {
      async pull(controller) {
        const piece = await exchange.next();
        if (piece === undefined) controller.close(); else controller.enqueue(piece);
      },
      cancel() { exchange.end(); },
    };
    // The source, because a reader needs no more than that of the stream.
    unread.register(source, exchange);
    return new ReadableStream(source, { highWaterMark: 0 });
  };

  const location_of = (pairs) => {
    const value = pairs.find(([name]) => name === "location")?.[1];
    // It came as bytes.
    return value && native.decode(Uint8Array.from(value, (it) => it.charCodeAt(0)), false);
  };

  /** The request that a redirect asks for. */
  const redirected = (exchange, request, status, location) => {
    const url = URL.parse(location, request.url);
    if (!url || !/^https?:$/.test(url.protocol)) throw exchange.failed(`${request.url} redirects to '${location}', which is no URL of http: or https:`);
    if (url.username || url.password) throw exchange.failed(`${request.url} redirects to a URL with a user or a password`);
    let { method, pairs, body } = request;
    const without = (names) => { pairs = pairs.filter(([name]) => !names.includes(name)); };
    if ((method === "POST" && status <= 302) || (status === 303 && !["GET", "HEAD"].includes(method))) {
      [method, body] = ["GET", undefined];
      without([...OF_A_BODY, "content-length"]);
    }
    if (url.origin !== new URL(request.url).origin) without(OF_AN_ORIGIN);
    url.hash = "";
    return { method, url: url.href, pairs, body };
  };

  const exchanged = async (exchange, sent, mode) => {
    for (let redirects = 0; ; redirects++) {
      const [status, pairs] = await exchange.send(sent);
      const location = REDIRECTS.has(status) && mode !== "manual" ? location_of(pairs) : undefined;
      if (location === undefined) {
        const has_body = sent.method !== "HEAD" && !shared.is_bodiless(status);
        if (!has_body) exchange.end();
        const stream = has_body ? stream_of(exchange) : null;
        return shared.responded({ stream, status, pairs, url: sent.url, is_redirected: redirects > 0 });
      }
      if (mode === "error") throw exchange.failed(`${sent.url} redirects to '${location}', and redirects are errors in this request`);
      if (redirects === MOST_REDIRECTS) throw exchange.failed(`there are more than ${MOST_REDIRECTS} redirects`);
      sent = redirected(exchange, sent, status, location);
    }
  };

  globalThis.fetch = async function fetch(input, init = undefined) {
    const request = new Request(input, init);
    const { method, signal, redirect } = request;
    signal.throwIfAborted();
    const url = new URL(request.url);
    url.hash = "";
    const exchange = new Exchange(signal);
    try {
      if (!/^https?:$/.test(url.protocol)) throw exchange.failed(`only http: and https: can be fetched, not ${url.protocol}`);
      const pairs = [...shared.pairs_of(request.headers)];
      if (!request.headers.has("accept")) pairs.push(["accept", "*/*"]);
      let body;
      if (shared.has_body(request)) {
        body = await request.bytes();
        signal.throwIfAborted();
      }
      if (body !== undefined || method === "POST" || method === "PUT") pairs.push(["content-length", String(body?.length ?? 0)]);
      return await exchanged(exchange, { method, url: url.href, pairs, body }, redirect);
    } catch (error) {
      exchange.end();
      throw error;
    }
  };
})
