/*---
description: a with statement looks into its object first
flags: [noStrict]
---*/

var inner = "outside", object = { inner: "inside", [Symbol.unscopables]: { hidden: true }, hidden: 1 }, hidden = 2;
with (object) assert.same(inner + hidden, "inside2");
