/*---
description: promises are waited for together
flags: [async]
---*/

const late = Promise.reject(1);
late.catch(() => {});
(async () => {
  const settled = await Promise.allSettled([late, 2]);
  assert.list(settled.map((it) => it.status), "rejected,fulfilled");
  assert.same(await Promise.any([late, 3]), 3);
  const none = await Promise.any([late]).catch((it) => it);
  assert(none instanceof AggregateError && none.errors[0] === 1);
  const { promise, resolve } = Promise.withResolvers();
  resolve({ then: (kept) => kept(4) });
  assert.same(await promise + await Promise.try((it) => it, 5), 9);
})().then($DONE, $DONE);
