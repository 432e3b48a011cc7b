/*---
description: old octal numbers are no strict programs
flags: [raw]
negative:
  phase: parse
  type: SyntaxError
---*/

"use strict"; 010;
