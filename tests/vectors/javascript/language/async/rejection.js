/*---
description: an error in an asynchronous function is a rejection
flags: [async]
---*/

(async () => { throw new EvalError("late"); })().then(
  () => $DONE(new Test262Error("kept")),
  (error) => $DONE(error instanceof EvalError ? undefined : error),
);
