/*---
description: the engine has no Temporal: this fails everywhere
---*/

assert.same(Temporal.PlainDate.from("2024-02-29").daysInYear, 366);
