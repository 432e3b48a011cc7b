/*---
description: without strict mode this is the global object, and assignments make globals
flags: [noStrict]
---*/

(function () { made = this === globalThis; })();
assert.same(made, true);
assert.same(delete globalThis.made, true);
