/*---
description: labels name what is left
---*/

let turns = 0;
outer: for (const a of [1, 2, 3]) for (const b of [1, 2, 3]) { if (b > a) continue outer; if (a === 3) break outer; turns++; }
assert.same(turns, 3);
