/*---
description: functions have names, lengths and their source
---*/

const { f } = { f: (a, b = 1, ...c) => a };
assert.list([f.name, f.length, f.toString(), (class { static m() {} }).m.name, (() => {}).bind().name], "f,1,(a, b = 1, ...c) => a,m,bound ");
assert.same(new Function("a", "b", "return a + b")(1, 2), 3);
