/*---
description: errors have causes and kinds
---*/

const error = new TypeError("words", { cause: 1 });
assert.list([String(error), error.cause, Object.keys(error).length, Error.isError(error), Error.isError({}), error instanceof Error], "TypeError: words,1,0,true,false,true");
assert.same(Object.prototype.hasOwnProperty.call(new Error(), "message"), false);
