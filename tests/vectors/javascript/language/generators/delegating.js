/*---
description: yield* passes on what it is sent
---*/

function* inner() { try { const sent = yield 1; yield sent * 2; } finally { yield "end"; } }
function* outer() { yield* inner(); }
const it = outer();
assert.list([it.next().value, it.next(21).value, it.return("r").value, it.next().value], "1,42,end,undefined");
