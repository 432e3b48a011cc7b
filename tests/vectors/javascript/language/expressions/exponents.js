/*---
description: ** binds to the right and more than a product
---*/

assert.list([2 ** 3 ** 2, 2 * 3 ** 2, (-2) ** 2, 2n ** 64n], "512,18,4,18446744073709551616");
