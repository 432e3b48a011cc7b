/*---
description: days of the calendar, without a time zone
---*/

const date = new Date(Date.UTC(2024, 1, 29, 23, 59, 59, 999));
assert.list([date.toISOString(), date.getUTCDay(), new Date(date.getTime() + 1).getUTCMonth(), new Date(NaN).getTime(), new Date(8.64e15 + 1).getTime()], "2024-02-29T23:59:59.999Z,4,2,NaN,NaN");
assert.list([Date.parse("2024-02-29"), Date.parse("2024-02-29T00:00:00+01:00"), Date.parse("+010000-01-01T00:00:00Z")], "1709164800000,1709161200000,253402300800000");
assert.throws(RangeError, () => new Date(NaN).toISOString());
