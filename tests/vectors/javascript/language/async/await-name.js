/*---
description: await is a name outside of modules and asynchronous functions
---*/

var await = 1; assert.same(await, 1);
