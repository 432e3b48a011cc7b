/*---
description: names are computed before fields, and super before this
---*/

const order = [];
class Base { constructor() { order.push("base"); } }
class Derived extends (order.push("heritage"), Base) {
  [(order.push("name"), "field")] = order.push("field");
  static { order.push("static"); }
  constructor() { assert.throws(ReferenceError, () => this); super(); order.push("derived"); }
}
new Derived();
assert.list(order, "heritage,name,static,base,field,derived");
