/*---
description: what is kept for old pages
flags: [noStrict]
---*/

assert.list([escape("ä b"), unescape("%u20AC"), "abc".substr(-2, 1), new Date(0).getYear(), "x".bold(), /a/.compile("b").source], "%E4%20b,€,b,70,<b>x</b>,b");
const object = {};
object.__defineGetter__("g", () => 3);
assert.list([object.g, { __proto__: Array.prototype } instanceof Array, 010, "\101"], "3,true,8,A");
