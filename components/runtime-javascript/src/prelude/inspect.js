// What a value looks like to people, and `console`.
(function (native, shared) {
  "use strict";

  const DEPTH = 3, ITEMS = 100, WIDTH = 76;
  const plain = /^[A-Za-z_$][\w$]*$/;

  const quoted = (text) => {
    const quote = !text.includes("'") ? "'" : !text.includes('"') ? '"' : "'";
    const escaped = text.replace(/[\\\n\r\t\0\b\f\v]|[\u0001-\u001f\u007f]/g, (it) => ({
      "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\b": "\\b", "\f": "\\f", "\v": "\\v",
    })[it] ?? "\\x" + it.charCodeAt(0).toString(16).padStart(2, "0"));
    return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
  };

  const name_of = (value) => {
    for (let it = value; it !== null; it = Object.getPrototypeOf(it)) {
      const made = Object.getOwnPropertyDescriptor(it, "constructor")?.value;
      if (typeof made === "function" && made.name) return made.name;
    }
    return null;
  };

  const key_of = (key) => typeof key === "symbol" ? `[${String(key)}]` : plain.test(key) ? key : quoted(key);

  const joined = (open, parts, close, indent) => {
    if (parts.length === 0) return open + close;
    const length = parts.reduce((sum, it) => sum + it.length + 2, 0);
    if (length + indent <= WIDTH && !parts.some((it) => it.includes("\n"))) return `${open} ${parts.join(", ")} ${close}`;
    const pad = " ".repeat(indent + 2);
    return `${open}\n${parts.map((it) => pad + it).join(",\n")}\n${" ".repeat(indent)}${close}`;
  };

  const error_text = (error) => {
    const head = Error.prototype.toString.call(error);
    const stack = typeof error.stack === "string" ? error.stack.trimEnd() : "";
    return stack ? `${head}\n${stack}` : head;
  };

  const properties = (value, seen, depth, indent, but) => {
    const parts = [];
    for (const key of Reflect.ownKeys(value)) {
      if (but(key)) continue;
      const property = Object.getOwnPropertyDescriptor(value, key);
      if (!property?.enumerable) continue;
      const shown = property.get ? (property.set ? "[Getter/Setter]" : "[Getter]")
        : property.set ? "[Setter]" : inspect(property.value, seen, depth + 1, indent + 2);
      parts.push(`${key_of(key)}: ${shown}`);
    }
    return parts;
  };

  const listed = (values, count, one) => {
    const parts = [];
    for (const value of values) {
      if (parts.length === ITEMS) break;
      parts.push(one(value));
    }
    if (count > parts.length) parts.push(`... ${count - parts.length} more item${count - parts.length > 1 ? "s" : ""}`);
    return parts;
  };

  const items = (value, seen, depth, indent) => {
    const parts = [];
    let holes = 0;
    const told = () => {
      if (holes) parts.push(`<${holes} empty item${holes > 1 ? "s" : ""}>`);
      holes = 0;
    };
    const shown = Math.min(value.length, ITEMS);
    for (let at = 0; at < shown; at++) {
      if (!Object.hasOwn(value, at)) { holes++; continue; }
      told();
      parts.push(inspect(value[at], seen, depth + 1, indent + 2));
    }
    told();
    if (value.length > shown) parts.push(`... ${value.length - shown} more item${value.length - shown > 1 ? "s" : ""}`);
    return parts;
  };

  /** Under it an object says what is to be seen of it. */
  shared.view = Symbol("view");
  const is_index = (key) => typeof key === "string" && /^(0|[1-9]\d*)$/.test(key);
  const nothing = () => false;

  const object = (value, seen, depth, indent) => {
    const name = name_of(value);
    if (seen.includes(value)) return "[Circular]";
    if (value instanceof Error) return error_text(value).replaceAll("\n", "\n" + " ".repeat(indent));
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    if (typeof value === "function") {
      const kind = /^class\b/.test(Function.prototype.toString.call(value)) ? "class" : name ?? "Function";
      const head = `[${kind}${value.name ? (kind === "class" ? " " : ": ") + value.name : kind === "class" ? "" : " (anonymous)"}]`;
      const parts = properties(value, [...seen, value], depth, indent, (key) => key === "prototype");
      return parts.length && depth <= DEPTH ? joined(head + " {", parts, "}", indent) : head;
    }
    if (depth >= DEPTH) return Array.isArray(value) ? "[Array]" : `[${name ?? "Object: null prototype"}]`;
    const inner = [...seen, value];
    if (Array.isArray(value)) {
      const open = name === "Array" ? "[" : `${name}(${value.length}) [`;
      const parts = [...items(value, inner, depth, indent), ...properties(value, inner, depth, indent, is_index)];
      return joined(open, parts, "]", indent);
    }
    const show = (it) => inspect(it, inner, depth + 1, indent + 2);
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
      return joined(`${name}(${value.length}) [`, listed(value, value.length, String), "]", indent);
    }
    if (value instanceof ArrayBuffer) return `ArrayBuffer { byteLength: ${value.byteLength} }`;
    if (value instanceof Map) {
      const parts = listed(value, value.size, ([key, it]) => `${show(key)} => ${show(it)}`);
      return joined(`Map(${value.size}) {`, parts, "}", indent);
    }
    if (value instanceof Set) return joined(`Set(${value.size}) {`, listed(value, value.size, show), "}", indent);
    if (value instanceof Promise) return "Promise {}";
    if (value instanceof WeakMap || value instanceof WeakSet) return `${name} { <items unknown> }`;
    if (value instanceof String || value instanceof Number || value instanceof Boolean) {
      return `[${name}: ${inspect(value.valueOf(), [], depth, indent)}]`;
    }
    const tag = value[Symbol.toStringTag], view = value[shared.view];
    const head = name === "Object" ? "" : `${name ?? "[Object: null prototype]"} `;
    const tagged = typeof tag === "string" && tag !== name ? `Object [${tag}] ` : head;
    return joined(tagged + "{", properties(view ?? value, inner, depth, indent, nothing), "}", indent);
  };

  const inspect = (value, seen = [], depth = 0, indent = 0) => {
    switch (typeof value) {
      case "string": return quoted(value);
      case "bigint": return `${value}n`;
      case "symbol": return String(value);
      case "number": return Object.is(value, -0) ? "-0" : String(value);
      case "undefined": case "boolean": return String(value);
    }
    if (value === null) return "null";
    try {
      return object(value, seen, depth, indent);
    } catch {
      return "[it cannot be shown]";
    }
  };

  const word = (value) => typeof value === "string" ? value : inspect(value);

  const format = (values) => {
    const rest = [...values];
    if (typeof rest[0] !== "string" || rest.length === 1) return rest.map(word).join(" ");
    const text = rest.shift().replace(/%[sdifjoOc%]/g, (it) => {
      if (it === "%%") return "%";
      if (rest.length === 0) return it;
      const value = rest.shift();
      switch (it) {
        case "%s": return typeof value === "object" && value !== null ? inspect(value) : typeof value === "bigint" ? `${value}n` : String(value);
        case "%d": return typeof value === "bigint" ? `${value}n` : typeof value === "symbol" ? "NaN" : String(Number(value));
        case "%i": return typeof value === "bigint" ? `${value}n` : typeof value === "symbol" ? "NaN" : String(parseInt(value));
        case "%f": return typeof value === "symbol" ? "NaN" : String(parseFloat(value));
        case "%j": try { return JSON.stringify(value); } catch { return "[Circular]"; }
        case "%c": return "";
        default: return inspect(value);
      }
    });
    return [text, ...rest.map(word)].join(" ");
  };

  let indent = "";
  const counts = new Map(), began = new Map();
  const line = (to) => (...values) => {
    const text = format(values);
    native.write(to, (indent ? indent + text.replaceAll("\n", "\n" + indent) : text).toWellFormed() + "\n");
  };
  const out = line(1), err = line(2);
  const elapsed = (label) => `${label}: ${(native.now() - began.get(label)).toFixed(3)}ms`;
  globalThis.console = {
    log: out, info: out, debug: out, error: err, warn: err,
    dir: (value) => out(inspect(value)),
    trace: (...values) => err(`Trace: ${format(values)}\n${new Error().stack.split("\n").slice(1).join("\n").trimEnd()}`),
    assert: (holds, ...values) => { if (!holds) err(values.length ? `Assertion failed: ${format(values)}` : "Assertion failed"); },
    count(label = "default") { counts.set(label, (counts.get(label) ?? 0) + 1); out(`${label}: ${counts.get(label)}`); },
    countReset(label = "default") { counts.delete(label); },
    time(label = "default") { began.set(label, native.now()); },
    timeLog(label = "default", ...values) { if (began.has(label)) out(elapsed(label), ...values); },
    timeEnd(label = "default") { if (began.has(label)) { out(elapsed(label)); began.delete(label); } },
    group(...values) { if (values.length) out(...values); indent += "  "; },
    groupEnd() { indent = indent.slice(2); },
    table(rows) { out(rows); },
  };
  globalThis.console.groupCollapsed = globalThis.console.group;
  shared.inspect = (value) => inspect(value);
  /** What is to be done where a call begins on what an earlier one left. */
  shared.renewals = [() => { indent = ""; counts.clear(); began.clear(); }];
})
