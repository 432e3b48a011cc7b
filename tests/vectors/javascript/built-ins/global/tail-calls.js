/*---
description: the engine has no tail calls: this fails everywhere
flags: [onlyStrict]
---*/

"use strict";
const down = (n) => n === 0 ? "bottom" : down(n - 1);
assert.same(down(1e6), "bottom");
