/*---
description: what a module exports is live
flags: [module]
---*/

import count, { add as more, self } from "./counter_FIXTURE.js";
import * as all from "./counter_FIXTURE.js";
more(4);
assert.list([count, all.total, self === all, Object.keys(all).join("+")], "0,4,true,add+default+self+total");
assert.throws(TypeError, () => { all.total = 1; });
assert.same(this, undefined);
