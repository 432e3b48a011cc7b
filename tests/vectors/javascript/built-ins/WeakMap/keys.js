/*---
description: weak maps take objects and symbols
---*/

const key = {}, symbol = Symbol(), map = new WeakMap([[key, 1], [symbol, 2]]);
assert.list([map.get(key), map.get(symbol), new WeakRef(key).deref() === key], "1,2,true");
assert.throws(TypeError, () => map.set(Symbol.for("registered"), 1));
