/*---
description: arguments and parameters are one without strict mode
flags: [noStrict]
---*/

function f(a) { arguments[0] = 2; return a; }
function g(a) { "use strict"; arguments[0] = 2; return a; }
function h(a = 0) { arguments[0] = 2; return a; }
assert.list([f(1), g(1), h(1)], "2,1,1");
