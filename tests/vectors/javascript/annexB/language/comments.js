/*---
description: comments of HTML
flags: [noStrict]
---*/

var n = 1;
<!-- n = 2;
--> n = 3;
assert.same(n, 1);
