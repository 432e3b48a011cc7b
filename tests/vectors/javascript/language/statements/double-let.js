/*---
description: a name is declared once
negative:
  phase: parse
  type: SyntaxError
---*/

let a; let a;
