// Timers and microtasks, and the errors that are left in promises.
(function (native, shared) {
  "use strict";

  // In the order in which they are due.
  const due = [], active = new Map();
  // Those that what runs stays for.
  let last = 0, holding = 0;

  const insert = (timer) => {
    let [low, high] = [0, due.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (due[middle].at <= timer.at) low = middle + 1; else high = middle;
    }
    due.splice(low, 0, timer);
  };
  const start = (what, pause, values, repeats, holds = true) => {
    if (typeof what !== "function") throw new TypeError("a timer's callback must be a function");
    const every = Math.min(Math.max(Number(pause) || 0, repeats ? 1 : 0), 2 ** 31 - 1);
    const timer = { id: ++last, at: native.now() + every, every: repeats ? every : undefined, what, values, holds };
    active.set(timer.id, timer);
    if (holds) holding++;
    insert(timer);
    return timer.id;
  };
  const end = (timer) => {
    active.delete(timer.id);
    if (timer.holds) holding--;
  };
  const clear = (id) => {
    const timer = active.get(Number(id));
    if (timer === undefined) return;
    end(timer);
    const at = due.indexOf(timer);
    if (at >= 0) due.splice(at, 1);
  };

  Object.assign(globalThis, {
    setTimeout: (what, pause, ...values) => start(what, pause, values, false),
    setInterval: (what, pause, ...values) => start(what, pause, values, true),
    setImmediate: (what, ...values) => start(what, 0, values, false),
    clearTimeout: clear,
    clearInterval: clear,
    clearImmediate: clear,
  });

  /** A timer that nothing stays for when all else is done. */
  shared.later = (what, pause) => { start(what, pause, [], false, false); };

  /** Runs one timer that is due. Milliseconds until the next is, or nothing where there is none to wait for. */
  shared.next = (is_awaited) => {
    if (due.length === 0 || (holding === 0 && !is_awaited)) return undefined;
    const pause = due[0].at - native.now();
    if (pause > 0) return pause;
    const timer = due.shift();
    if (timer.every === undefined) {
      end(timer);
    } else {
      timer.at = native.now() + timer.every;
      insert(timer);
    }
    timer.what(...timer.values);
    return 0;
  };

  const left = new Map();
  shared.rejection = (promise, reason, is_handled) => {
    if (is_handled) left.delete(promise); else left.set(promise, reason);
  };
  /** The first error that nobody took, in a list. */
  shared.rejected = () => {
    for (const reason of left.values()) return [reason];
    return undefined;
  };
  shared.renewals.push(() => { due.length = holding = 0; active.clear(); left.clear(); });
})
