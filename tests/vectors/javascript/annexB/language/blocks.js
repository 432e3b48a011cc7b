/*---
description: functions in blocks are seen outside of them
flags: [noStrict]
---*/

assert.same(typeof inner, "undefined");
{ function inner() {} }
assert.same(typeof inner, "function");
