/*---
description: a name cannot be used before its declaration
---*/

assert.throws(ReferenceError, () => { early; let early = 1; });
assert.throws(ReferenceError, () => { (function (a = b, b) {})(); });
assert.throws(TypeError, () => { const fixed = 1; fixed = 2; });
