// Streams of pieces, by the Streams Standard: what bodies take of it. No streams of bytes with buffers of the reader's own, no pipes.
(function (native, shared) {
  "use strict";

  const settled = () => {
    const it = Promise.withResolvers();
    // Nobody has to look at it.
    it.promise.catch(() => {});
    return it;
  };

  /** What a stream, its controller and its reader share. */
  class Core {
    state = "readable";
    error;
    is_disturbed = false;
    reader;
    reads = [];
    queue = [];
    is_closing = false;
    #source; #limit; #controller;
    #is_started = false; #is_pulling = false; #again = false;

    begin(source, limit, controller) {
      [this.#source, this.#limit, this.#controller] = [source, limit, controller];
      Promise.resolve(source.start?.(controller)).then(() => {
        this.#is_started = true;
        this.#pull();
      }, (error) => this.fail(error));
    }
    get room() { return this.state === "errored" ? null : this.state === "closed" ? 0 : this.#limit - this.queue.length; }
    get is_open() { return this.state === "readable" && !this.is_closing; }

    #pull() {
      if (!this.is_open || !this.#is_started || (this.reads.length === 0 && this.room <= 0)) return;
      if (this.#is_pulling) {
        this.#again = true;
        return;
      }
      this.#is_pulling = true;
      const pulled = async () => this.#source.pull?.(this.#controller);
      pulled().then(() => {
        this.#is_pulling = false;
        if (!this.#again) return;
        this.#again = false;
        this.#pull();
      }, (error) => this.fail(error));
    }
    enqueue(value) {
      if (!this.is_open) throw new TypeError("the stream takes no more");
      if (this.reads.length) this.reads.shift().resolve({ value, done: false });
      else this.queue.push(value);
      this.#pull();
    }
    close() {
      if (!this.is_open) throw new TypeError("the stream is closed already");
      this.is_closing = true;
      if (this.queue.length === 0) this.#closed();
    }
    #closed() {
      this.state = "closed";
      this.#source = {};
      for (const it of this.reads.splice(0)) it.resolve({ value: undefined, done: true });
      this.reader?.resolve();
    }
    fail(error) {
      if (this.state !== "readable") return;
      [this.state, this.error, this.queue, this.#source] = ["errored", error, [], {}];
      for (const it of this.reads.splice(0)) it.reject(error);
      this.reader?.reject(error);
    }
    async read() {
      this.is_disturbed = true;
      if (this.state === "errored") throw this.error;
      if (this.state === "closed") return { value: undefined, done: true };
      if (this.queue.length) {
        const value = this.queue.shift();
        if (this.is_closing && this.queue.length === 0) this.#closed(); else this.#pull();
        return { value, done: false };
      }
      const read = Promise.withResolvers();
      this.reads.push(read);
      this.#pull();
      return read.promise;
    }
    async cancel(reason) {
      this.is_disturbed = true;
      if (this.state === "errored") throw this.error;
      if (this.state === "closed") return;
      const source = this.#source;
      this.queue = [];
      this.#closed();
      await source.cancel?.(reason);
    }
    lock() {
      if (this.reader) throw new TypeError("the stream is locked: it has a reader already");
      this.reader = settled();
      if (this.state === "closed") this.reader.resolve();
      if (this.state === "errored") this.reader.reject(this.error);
      return this.reader;
    }
    release() {
      const error = new TypeError("the reader was released");
      for (const it of this.reads.splice(0)) it.reject(error);
      this.reader.reject(error);
      this.reader = undefined;
      return error;
    }
  }

  let core_of;

  class ReadableStreamDefaultController {
    #core;
    constructor(core) {
      if (!(core instanceof Core)) throw new TypeError("Illegal constructor");
      this.#core = core;
    }
    get desiredSize() { return this.#core.room; }
    enqueue(value) { this.#core.enqueue(value); }
    close() { this.#core.close(); }
    error(error) { this.#core.fail(error); }
  }

  class ReadableStreamDefaultReader {
    #core; #closed;
    constructor(stream) {
      this.#core = core_of(stream);
      this.#closed = this.#core.lock().promise;
    }
    get closed() { return this.#closed; }
    async read() { return this.#held().read(); }
    async cancel(reason) { return this.#held().cancel(reason); }
    releaseLock() {
      if (this.#core === undefined) return;
      this.#closed = Promise.reject(this.#core.release());
      this.#closed.catch(() => {});
      this.#core = undefined;
    }
    #held() {
      if (this.#core === undefined) throw new TypeError("the reader was released");
      return this.#core;
    }
  }

  class ReadableStream {
    #core = new Core();
    static { core_of = (stream) => stream.#core; }
    constructor(source = {}, { highWaterMark = 1 } = {}) {
      if (source.type !== undefined) throw new RangeError(`streams of the type '${source.type}' are not supported`);
      const limit = Number(highWaterMark);
      if (!(limit >= 0)) throw new RangeError("a stream's highWaterMark must be a number from 0");
      this.#core.begin(source, limit, new ReadableStreamDefaultController(this.#core));
    }
    static from(values) {
      const all = values[Symbol.asyncIterator]?.() ?? values[Symbol.iterator]();
      return new ReadableStream({
        async pull(controller) {
          const { value, done } = await all.next();
          if (done) controller.close(); else controller.enqueue(await value);
        },
        async cancel(reason) { await all.return?.(reason); },
      }, { highWaterMark: 0 });
    }
    get locked() { return this.#core.reader !== undefined; }
    getReader({ mode } = {}) {
      if (mode !== undefined) throw new TypeError(`readers of the mode '${mode}' are not supported`);
      return new ReadableStreamDefaultReader(this);
    }
    async cancel(reason) {
      if (this.locked) throw new TypeError("the stream is locked: its reader can cancel it");
      return this.#core.cancel(reason);
    }
    tee() { return shared.tee(this, false); }
    async *values({ preventCancel = false } = {}) {
      const reader = this.getReader();
      let is_over = false;
      try {
        for (;;) {
          const { value, done } = await reader.read().catch((error) => { is_over = true; throw error; });
          if (done) { is_over = true; return; }
          yield value;
        }
      } finally {
        if (!is_over && !preventCancel) await reader.cancel();
        reader.releaseLock();
      }
    }
    [Symbol.asyncIterator](options) { return this.values(options); }
    get [Symbol.toStringTag]() { return "ReadableStream"; }
    get [shared.view]() { return { locked: this.locked, state: this.#core.state }; }
  }

  /** Two streams of the same pieces, in copies if they are bytes and to be copied. What one of them has read waits for the other. */
  shared.tee = (stream, is_copied) => {
    const reader = stream.getReader(), branches = [], reasons = [], cancelled = settled();
    let reading;
    const pull = () => (reading ??= reader.read().then(({ value, done }) => {
      reading = undefined;
      for (const [at, branch] of branches.entries()) {
        if (at in reasons) continue;
        if (done) branch.close();
        else branch.enqueue(at === 1 && is_copied && value instanceof Uint8Array ? value.slice() : value);
      }
    }, (error) => { for (const branch of branches) branch.error(error); }));
    return [0, 1].map((at) => new ReadableStream({
      start(controller) { branches[at] = controller; },
      pull,
      cancel(reason) {
        reasons[at] = reason;
        if (1 - at in reasons) cancelled.resolve(reader.cancel(reasons));
        return cancelled.promise;
      },
    }, { highWaterMark: 0 }));
  };

  Object.assign(globalThis, { ReadableStream, ReadableStreamDefaultController, ReadableStreamDefaultReader });
  /** Whether anything of a stream was read or thrown away. */
  shared.is_disturbed = (stream) => core_of(stream).is_disturbed;
})
