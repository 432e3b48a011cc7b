/*---
description: integers of any size
---*/

let factorial = 1n;
for (let n = 1n; n <= 30n; n++) factorial *= n;
assert.same(factorial, 265252859812191058636308480000000n);
assert.list([-7n / 2n, -7n % 2n, -7n >> 1n, BigInt.asIntN(8, 255n), BigInt("0xff"), 2n > 1, 1n == 1], "-3,-1,-4,-1,255,true,true");
assert.throws(TypeError, () => 1n + 1);
assert.throws(RangeError, () => BigInt(0.5));
