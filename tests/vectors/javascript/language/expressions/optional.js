/*---
description: an optional chain ends at what is not there
---*/

const there = { deep: { f() { return this === there.deep; } } };
let touched = 0;
assert.list([there?.deep.f(), there.none?.[touched++].more(), (null)?.x, delete there.none?.x], "true,undefined,undefined,true");
assert.same(touched, 0);
let none = null;
none ??= 4;
none ||= touched++;
none &&= 5;
assert.same(none * 10 + touched, 50);
