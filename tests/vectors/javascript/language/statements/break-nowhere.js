/*---
description: a break needs something to leave
negative:
  phase: parse
  type: SyntaxError
---*/

break;
