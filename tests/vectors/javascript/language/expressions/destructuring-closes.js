/*---
description: a pattern closes the iterator that it does not exhaust
---*/

let closed = 0;
const source = { [Symbol.iterator]() { return { next: () => ({ value: 1, done: false }), return: () => (closed++, {}) }; } };
const [one] = source;
assert.same(one + closed, 2);
for (const it of source) break;
assert.same(closed, 2);
