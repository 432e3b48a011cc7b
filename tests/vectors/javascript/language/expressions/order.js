/*---
description: operands are evaluated from left to right
includes: [counting.js]
---*/

counting(counted)[(assert.same(counted.calls, 1), "at")] = counting(counted.calls);
assert.list([counted.at, counted.calls], "1,2");
