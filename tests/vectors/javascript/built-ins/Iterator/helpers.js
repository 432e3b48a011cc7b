/*---
description: iterators are mapped, filtered and closed
---*/

let closed = 0;
function* naturals() { try { for (let n = 1; ; n++) yield n; } finally { closed++; } }
const taken = naturals().filter((it) => it % 2).map((it) => it * it).drop(1).take(3).toArray();
assert.list([taken.join("+"), closed], "9+25+49,1");
assert.same(Iterator.from({ next: () => ({ done: true }) }).some((it) => it), false);
assert.same(naturals().flatMap((it) => [it, it]).find((it) => it === 3) + closed, 5);
