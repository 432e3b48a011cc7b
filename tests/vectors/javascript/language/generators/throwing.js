/*---
description: an error is thrown into a generator
---*/

function* f() { for (;;) try { yield 1; } catch (error) { yield error; } }
const it = f();
it.next();
assert.same(it.throw("in").value, "in");
assert.throws(TypeError, () => { function* g() { h.next(); } const h = g(); h.next(); });
