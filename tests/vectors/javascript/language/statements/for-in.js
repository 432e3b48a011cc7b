/*---
description: properties are counted in their order, without those that went
---*/

const object = Object.create({ c: 1, a: 1 }, { hidden: { value: 1 } });
Object.assign(object, { b: 1, 2: 1, 1: 1, a: 1, gone: 1 });
const names = [];
for (const name in object) { names.push(name); delete object.gone; }
assert.list(names, "1,2,b,a,c");
