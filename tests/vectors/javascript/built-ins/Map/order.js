/*---
description: maps keep their order while they change
---*/

const map = new Map([[NaN, 1], [0, 2]]);
const seen = [];
for (const [key] of map) { seen.push(key); if (seen.length < 4) { map.delete(key); map.set(key, 0); } }
assert.list([seen.join("+"), map.size, map.get(-0), [...map.keys()].join("+")], "NaN+0+NaN+0+NaN,2,0,0+NaN");
assert.list(Map.groupBy([1, 2, 3], (it) => it % 2 === 0).get(false), "1,3");
const a = new Set([1, 2, 3]), b = new Set([3, 4]);
assert.list([[...a.union(b)], [...a.intersection(b)], [...a.symmetricDifference(b)], a.isDisjointFrom(b)], "1,2,3,4,3,1,2,4,false");
