/*---
description: JSON is read and written
---*/

assert.same(JSON.stringify({ b: [1, undefined, () => 1], u: undefined, d: new Date(0), n: NaN, s: "\ud800\u2028" }), '{"b":[1,null,null],"d":"1970-01-01T00:00:00.000Z","n":null,"s":"\\ud800\u2028"}');
assert.same(JSON.stringify([1, { a: 2 }], null, 1), '[\n 1,\n {\n  "a": 2\n }\n]');
assert.same(JSON.parse('{"__proto__": 1}').hasOwnProperty("__proto__"), true);
assert.same(JSON.parse("[1,[2]]", function (key, value) { return typeof value === "number" ? value + 1 : value; })[1][0], 3);
for (const text of ["", "01", "[1,]", "'a'", "{a:1}", "\"\n\"", "1 2"]) assert.throws(SyntaxError, () => JSON.parse(text));
assert.throws(TypeError, () => JSON.stringify(1n));
