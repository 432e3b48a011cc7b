/*---
description: proxies are asked, and held to what is true
---*/

const asked = [];
const proxy = new Proxy({ fixed: 1 }, new Proxy({}, { get: (_, trap) => { asked.push(trap); } }));
"x" in proxy; proxy.x; proxy.x = 1; delete proxy.x; Object.keys(proxy); ({ ...proxy });
assert.list([...new Set(asked)].sort(), "defineProperty,deleteProperty,get,getOwnPropertyDescriptor,has,ownKeys,set");
const liar = new Proxy(Object.freeze({ a: 1 }), { get: () => 2, ownKeys: () => [] });
assert.throws(TypeError, () => liar.a);
assert.throws(TypeError, () => Object.keys(liar));
