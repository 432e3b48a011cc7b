/*---
description: objects say what they are as values
---*/

const object = { [Symbol.toPrimitive]: (hint) => hint };
assert.list([`${object}`, object + "", [+object].join()], "string,default,NaN");
assert.throws(TypeError, () => `${Symbol()}`);
assert.list([Symbol.for("a") === Symbol.for("a"), Symbol.keyFor(Symbol.for("a")), Symbol("d").description], "true,a,d");
assert.same(Object.prototype.toString.call({ [Symbol.toStringTag]: "Own" }), "[object Own]");
