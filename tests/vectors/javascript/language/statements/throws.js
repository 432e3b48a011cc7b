/*---
description: an error ends the program
negative:
  phase: runtime
  type: RangeError
---*/

throw new RangeError("on purpose");
