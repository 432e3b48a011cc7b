/*---
description: an export that is not there is an error before anything runs
flags: [module]
negative:
  phase: resolution
  type: SyntaxError
---*/

import { none } from "./slow_FIXTURE.js";
throw "it ran";
