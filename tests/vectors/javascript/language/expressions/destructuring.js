/*---
description: patterns take apart what they are given
---*/

const { a, b: [b1, , b3 = 3, ...rest], ...others } = { a: 1, b: [2, 0, undefined, 4, 5], c: 6, d: 7 };
assert.list([a, b1, b3, rest.length, Object.keys(others).join("+")], "1,2,3,2,c+d");
assert.throws(TypeError, () => { const {} = null; });
assert.throws(TypeError, () => { const [] = {}; });
