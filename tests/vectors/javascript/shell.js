// file: assert.js
function assert(holds, words) {
  if (holds !== true) throw new Test262Error(words || "it does not hold");
}

assert.same = function (found, expected) {
  if (!Object.is(found, expected)) throw new Test262Error(`${String(found)} instead of ${String(expected)}`);
};

assert.list = function (found, expected) {
  var all = Array.from(found, String).join();
  assert.same(all, expected);
};

assert.throws = function (kind, work) {
  try {
    work();
  } catch (error) {
    assert.same(error.constructor, kind);
    return;
  }
  throw new Test262Error(`no ${kind.name}`);
};

// file: sta.js
function Test262Error(message) {
  this.message = message;
}

// file: counting.js
const counted = { calls: 0 };
var counting = (value) => (counted.calls++, value);
