/*---
description: jobs run in the order in which they came
flags: [async]
---*/

const order = [];
const f = async (name) => { order.push(name + 1); await null; order.push(name + 2); };
const all = [f("a"), f("b"), Promise.resolve().then(() => order.push("c"))];
order.push("sync");
Promise.all(all).then(() => assert.list(order, "a1,b1,sync,a2,b2,c")).then($DONE, $DONE);
