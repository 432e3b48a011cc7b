/*---
description: each turn of a loop has a binding of its own
---*/

const all = [];
for (let n = 0; n < 3; n++) all.push(() => n++);
assert.list(all.map((it) => it() + it()), "1,3,5");
