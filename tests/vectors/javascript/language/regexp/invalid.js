/*---
description: a pattern that is none is no program
negative:
  phase: parse
  type: SyntaxError
---*/

/(?<a>.)(?<a>.)/;
