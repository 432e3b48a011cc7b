// Runs one program of test262 and writes what came of it: the same text in the component and in the bare engine.
const indirect = eval;
const { apply, defineProperty } = Reflect;
const { transfer } = ArrayBuffer.prototype;
const { write } = process.stdout;

// What `write` needs of the language, which a program may have taken away.
const needed = [
  [globalThis, "String", String], [String.prototype, "toWellFormed", String.prototype.toWellFormed],
  [globalThis, "ArrayBuffer", ArrayBuffer], [ArrayBuffer, "isView", ArrayBuffer.isView],
];

const words = (thrown) => {
  try {
    return typeof thrown === "object" && thrown !== null ? `${thrown.constructor.name}: ${thrown.message}` : `${thrown}`;
  } catch {
    return "something without words";
  }
};

const run = (program, end) => {
  let is_said = false;
  const say = (outcome) => {
    if (is_said) return;
    is_said = true;
    for (let at = 0; at < needed.length; at++) {
      const value = { __proto__: null, value: needed[at][2], writable: true, enumerable: false, configurable: true };
      defineProperty(needed[at][0], needed[at][1], value);
    }
    write(outcome + "\n");
    end();
  };
  const judge = (has_thrown, thrown) => {
    if (program.negative) {
      const is_expected = has_thrown && thrown?.constructor?.name === program.negative;
      say(is_expected ? "pass" : has_thrown ? `fail: not a ${program.negative}: ${words(thrown)}` : `fail: no ${program.negative}`);
    } else if (has_thrown) {
      say(`fail: ${words(thrown)}`);
    } else if (!program.async) {
      say("pass");
    }
  };
  if (!program.raw) {
    globalThis.$262 = {
      global: globalThis,
      evalScript: (source) => indirect(source),
      detachArrayBuffer: (buffer) => (apply(transfer, buffer, []), null),
    };
    if (program.async) globalThis.$DONE = (error) => say(error ? `fail: ${words(error)}` : "pass");
    indirect(program.harness);
  }
  if (program.module) {
    (async () => {
      try {
        await import(program.module);
      } catch (thrown) {
        return judge(true, thrown);
      }
      judge(false);
    })();
    return;
  }
  try {
    indirect(program.source);
  } catch (thrown) {
    return judge(true, thrown);
  }
  judge(false);
};
