// What a script has of Node.js' `process`: its arguments, its streams and its end.
(function (native, shared) {
  "use strict";

  const output = (to) => ({
    isTTY: false,
    fd: to,
    write(value) {
      if (ArrayBuffer.isView(value)) native.write_bytes(to, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
      else native.write(to, String(value).toWellFormed());
      return true;
    },
  });
  let read;
  /** All of standard input, as bytes. */
  shared.stdin = () => (read ??= native.read());

  const process = {
    title: "javascript",
    argv: [],
    env: {},
    exitCode: undefined,
    platform: "wasi",
    version: "v20.0.0",
    versions: { quickjs: native.engine },
    exit(code) {
      native.exit(Number(code ?? process.exitCode ?? 0));
      // Nothing catches what ends this.
      for (;;);
    },
    cwd: () => "/",
    uptime: () => native.now() / 1e3,
    hrtime: Object.assign(() => {
      const now = native.now();
      return [Math.trunc(now / 1e3), Math.trunc((now % 1e3) * 1e6)];
    }, { bigint: () => BigInt(Math.trunc(native.now() * 1e6)) }),
    nextTick(what, ...values) { queueMicrotask(() => what(...values)); },
    stdout: output(1),
    stderr: output(2),
    stdin: {
      isTTY: false,
      fd: 0,
      setEncoding() { return this; },
      async *[Symbol.asyncIterator]() {
        const all = new TextDecoder().decode(shared.stdin());
        if (all) yield all;
      },
    },
  };
  globalThis.process = process;

  shared.begin = (values) => { process.argv = ["javascript", "<script>", ...values]; };
  shared.renewals.push(() => { read = undefined; process.exitCode = undefined; });
  shared.code = () => Number(process.exitCode ?? 0);
})
