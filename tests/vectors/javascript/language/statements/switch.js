/*---
description: a switch falls through, and has one scope
---*/

const f = (it) => { const all = []; switch (it) { default: all.push("d"); case 1: all.push(1); break; case 2: let x = 2; all.push(x); } return all.join(""); };
assert.list([f(0), f(1), f(2)], "d1,1,2");
