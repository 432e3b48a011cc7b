/*---
description: in strict mode this is what was given
flags: [onlyStrict]
---*/

assert.same((function () { return this; })(), undefined);
assert.same((function () { return typeof this; }).call(1), "number");
assert.throws(ReferenceError, () => { unknown = 1; });
assert.throws(TypeError, () => { Object.freeze([1]).length = 0; });
