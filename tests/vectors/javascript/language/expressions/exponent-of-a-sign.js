/*---
description: -2 ** 2 is no program
negative:
  phase: parse
  type: SyntaxError
---*/

-2 ** 2;
