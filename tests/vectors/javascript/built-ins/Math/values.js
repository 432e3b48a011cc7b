/*---
description: functions of numbers at their edges
---*/

assert.list([Math.sign(-0), Math.max(), Math.hypot(3, 4), Math.clz32(1), Math.fround(5.5), Math.imul(0xffffffff, 5), Math.trunc(-0.5)].map((it) => Object.is(it, -0) ? "-0" : it), "-0,-Infinity,5,31,5.5,-5,-0");
assert.list([Math.round(-0.5), Math.round(2.5), Math.cbrt(27), Math.log2(8), Math.expm1(0), Math.atan2(0, -0) === Math.PI].map((it) => Object.is(it, -0) ? "-0" : it), "-0,3,3,3,0,true");
