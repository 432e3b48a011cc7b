/*---
description: the engine has no Intl: this fails everywhere
---*/

assert.same(new Intl.NumberFormat("de").format(1.5), "1,5");
