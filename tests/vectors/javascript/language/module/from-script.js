/*---
description: a script imports modules as well
flags: [async]
---*/

import("./slow_FIXTURE.js").then((it) => assert.same(it.value, 7)).then($DONE, $DONE);
