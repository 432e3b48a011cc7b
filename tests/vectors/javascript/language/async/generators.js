/*---
description: asynchronous generators keep the order of requests
flags: [async]
---*/

async function* f() { for (const n of [1, 2]) { const got = yield n; if (got) yield got; } }
(async () => {
  const it = f(), all = await Promise.all([it.next(), it.next("sent"), it.next(), it.next()]);
  assert.list(all.map((one) => one.value), "1,sent,2,undefined");
  const seen = [];
  for await (const n of f()) seen.push(n);
  assert.list(seen, "1,2");
})().then($DONE, $DONE);
