/*---
description: a module exports a name once
flags: [module]
negative:
  phase: parse
  type: SyntaxError
---*/

export let a; export { a };
