/*---
description: shared memory is changed at once
---*/

const shared = new Int32Array(new SharedArrayBuffer(8));
assert.list([Atomics.add(shared, 0, 5), Atomics.compareExchange(shared, 0, 5, 7), Atomics.load(shared, 0), Atomics.notify(shared, 0)], "0,5,7,0");
