/*---
description: new.target is the constructor that was called
---*/

function F() { return { by: new.target }; }
class G extends F { }
assert.list([F().by === undefined, new F().by === F, new G().by === G, Reflect.construct(F, [], Map).by === Map], "true,true,true,true");
