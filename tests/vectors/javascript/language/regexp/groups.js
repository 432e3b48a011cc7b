/*---
description: names, looking back, flags
---*/

const found = /(?<year>\d{4})-(?<month>\d\d)(?<=0\d)/d.exec("on 2026-07");
assert.list([found.groups.year, found.groups.month, found.indices.groups.year.join("+")], "2026,07,3+7");
assert.list("aBc".matchAll(/[a-z]/gi), "a,B,c");
assert.same("x-y".replace(/(?<l>.)-(?<r>.)/, "$<r>-$<l>"), "y-x");
assert.same(/^(?:(?<a>x)|(?<a>y))$/.exec("y").groups.a, "y");
assert.same(/(?i:a)b/.test("Ab") && !/(?i:a)b/.test("AB"), true);
