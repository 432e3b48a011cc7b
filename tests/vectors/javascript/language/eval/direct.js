/*---
description: a direct eval sees what is around it, an indirect one does not
flags: [noStrict]
---*/

function f(local) { var outer = eval; return [eval("local"), outer("typeof local"), eval("var local = 3; local")].join(); }
assert.same(f(1), "1,undefined,3");
