// Calling a handler: JSON in, JSON out.
(function (native, shared) {
  "use strict";

  const { parse, stringify } = JSON;

  shared.renew = () => { for (const renew of shared.renewals) renew(); };

  /** The handler among what a module exports. */
  shared.handler = (module, name) => {
    const [handler, found] = "handler" in module ? [module.handler, "handler"] : [module.default, "default"];
    if (handler === undefined) throw new TypeError(`'${name}' exports no handler: export a function named 'handler', or a default one`);
    if (typeof handler !== "function") throw new TypeError(`'${found}' of '${name}' is no function: a handler is called with an event and a context`);
    return handler;
  };

  shared.answer = async (handler, event, context) => {
    const given = parse(context);
    if (typeof given?.deadline === "number") {
      Object.defineProperty(given, "remaining", { value: () => Math.max(0, given.deadline - Date.now()) });
    }
    const value = await handler(parse(event), given);
    if (value === undefined) return "null";
    const text = stringify(value);
    if (text === undefined) throw new TypeError(`the handler answered ${shared.inspect(value)}, which has no form in JSON`);
    return text;
  };

  /** The value of a turn, for people. */
  shared.shown = (turn) => turn.value === undefined ? undefined : shared.inspect(turn.value).toWellFormed();
})
