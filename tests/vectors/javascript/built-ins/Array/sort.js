/*---
description: sorting is stable, and undefined comes last
---*/

const rows = Array.from({ length: 600 }, (_, n) => ({ key: n % 3, n }));
rows.sort((a, b) => a.key - b.key);
assert(rows.every((it, at) => at === 0 || it.key > rows[at - 1].key || it.n > rows[at - 1].n));
assert.list([3, undefined, 1, , 2].sort().map((it) => it ?? "u"), "1,2,3,u,undefined");
