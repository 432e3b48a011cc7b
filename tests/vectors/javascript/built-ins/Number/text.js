/*---
description: numbers as text, and back
---*/

assert.list([1e21, 1e-7, 123.456.toFixed(1), (255).toString(16), 0.1 + 0.2, (25).toPrecision(1), (1234.5678).toExponential(2)], "1e+21,1e-7,123.5,ff,0.30000000000000004,3e+1,1.23e+3");
assert.list([Number("0x1f"), Number(""), Number(" 12 "), parseInt("12px"), Number("1_0"), Number.parseFloat(".5e1")], "31,0,12,12,NaN,5");
assert.same(5e-324.toString() + 1.7976931348623157e308, "5e-3241.7976931348623157e+308");
