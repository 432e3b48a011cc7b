/*---
description: properties in their order, with their attributes
---*/

const object = { b: 1, 1: 1, get a() { return this.b + 1; }, [Symbol.iterator]: 1, 0: 1 };
assert.list(Reflect.ownKeys(object), "0,1,b,a,Symbol(Symbol.iterator)");
Object.defineProperty(object, "b", { enumerable: false });
assert.list([Object.keys(object).join("+"), object.a, Object.entries({ x: 1 })[0].join(), Object.groupBy([1, 2], (it) => it).__proto__], "0+1+a,2,x,1,undefined");
assert.throws(TypeError, () => Object.defineProperty(Object.preventExtensions({}), "x", { value: 1 }));
const copy = structured({ ...object });
function structured(it) { return Object.getOwnPropertyDescriptor(it, "a"); }
assert.same(copy.value, 2);
