/*---
description: a tag is given the same strings each time
---*/

const tag = (strings, ...values) => [strings, strings.raw[0], values.join()];
const twice = [0, 1].map((n) => tag`a\n${n}b${n + 1}`);
assert(twice[0][0] === twice[1][0] && Object.isFrozen(twice[0][0]));
assert.list(twice.map((it) => it[1].length + it[2]), "30,1,31,2");
