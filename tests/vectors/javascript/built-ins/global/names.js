/*---
description: nothing of the language was taken away or made enumerable
---*/

assert.list([typeof globalThis.eval, Object.keys(Object.getOwnPropertyDescriptor(globalThis, "Math")).length, Object.getOwnPropertyDescriptor(globalThis, "NaN").writable], "function,4,false");
assert.same(Object.getOwnPropertyDescriptor(globalThis, "Promise").enumerable, false);
assert.list([Math.random.name, Math.random.length, Object.getOwnPropertyDescriptor(Math.random, "name").configurable], "random,0,true");
assert.same(String(Math.random).includes("[native code]"), true);
assert.throws(TypeError, () => new Math.random());
