/*---
description: classes have private members, static blocks and accessors
---*/

class A {
  #secret = 1;
  static made = 0;
  static { A.made = 10; }
  get #double() { return this.#secret * 2; }
  constructor() { A.made++; }
  static has(it) { return #secret in it; }
  sum(other) { return this.#double + other.#secret; }
}
const a = new A();
assert.list([a.sum(new A()), A.made, A.has(a), A.has({})], "3,12,true,false");
assert.throws(TypeError, () => a.sum({}));
