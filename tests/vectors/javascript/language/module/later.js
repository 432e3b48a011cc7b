/*---
description: a module is imported once, also later, and waited for
flags: [module]
---*/

const [first, second] = await Promise.all([import("./slow_FIXTURE.js"), import("./slow_FIXTURE.js")]);
assert(first === second && first.value === 7);
assert.same(typeof import.meta, "object");
let refused;
try { await import("./none_FIXTURE.js"); } catch (error) { refused = error; }
assert(refused instanceof Error);
