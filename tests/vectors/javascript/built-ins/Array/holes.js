/*---
description: holes are left out or are undefined, by the method
---*/

const holes = [, 1, , 2];
let seen = 0;
holes.forEach(() => seen++);
assert.list([seen, holes.findIndex((it) => it === undefined), 0 in holes, holes.flat().length, [...holes].length, Object.keys(holes).length], "2,0,false,2,4,2");
