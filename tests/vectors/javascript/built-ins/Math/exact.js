/*---
description: a sum without rounding in between
---*/

assert.list([Math.sumPrecise([1e308, 1e308, -1e308]), Math.sumPrecise([0.1, 0.2, -0.3])], "1e+308,2.7755575615628914e-17");
