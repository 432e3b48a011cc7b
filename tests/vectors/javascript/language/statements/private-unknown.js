/*---
description: a private name that no class declares is no program
negative:
  phase: parse
  type: SyntaxError
---*/

class A { f() { return this.#none; } }
