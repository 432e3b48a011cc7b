/*---
description: what finally does wins
---*/

const f = () => { for (;;) { try { return 1; } finally { break; } } return 2; };
const g = () => { try { throw 1; } catch { return 2; } finally { return 3; } };
assert.list([f(), g()], "2,3");
