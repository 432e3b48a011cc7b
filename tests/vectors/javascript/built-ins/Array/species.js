/*---
description: arrays are made by the species of what they come from
---*/

class Own extends Array { static get [Symbol.species]() { return Array; } }
const own = Own.of(3, 1, 2);
assert.list([own instanceof Own, own.map((it) => it) instanceof Own, own.toSorted() instanceof Own], "true,false,false");
assert.list([own.toSorted(), own.with(0, 9), own.at(-1), own.findLast((it) => it > 1)], "1,2,3,9,1,2,2,2");
