// Makes ES modules for the sandbox out of installed packages, and runs nothing of them. Called by `hv` with the path of a request:
//
//   { root, dependencies: [name], given: [name], modules: [{ name, text }] }
//
// where `root` has package.json and node_modules, and `given` are packages that need no making. Writes to standard output
//
//   { packages: { name: text } }   by the name under which a module imports it, or
//   { refused: [{ … }] }           what cannot be had, see `refusal` and below
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";
import { init, parse } from "cjs-module-lexer";

const { root, dependencies, given, modules } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const answer = (value) => process.stdout.write(JSON.stringify(value));

/** Where the parts are that several packages share: no package can have this name. */
const SHARED = "_/";
/** What the sandbox has of Node.js' modules, for those who import them and those who require them. */
const OFFERED = {
  process: "module.exports = globalThis.process;",
  "timers/promises": `const wait = (pause, value) => new Promise((done) => { setTimeout(done, pause, value); });
    module.exports = { setTimeout: wait, setImmediate: (value) => wait(0, value) };`,
};
const offered = {
  name: "offered",
  setup(it) {
    it.onResolve({ filter: /^(node:)?(process|timers\/promises)$/ }, ({ path }) => ({ path: path.replace(/^node:/, ""), namespace: "offered" }));
    it.onLoad({ filter: /.*/, namespace: "offered" }, ({ path }) => ({ contents: OFFERED[path], loader: "js" }));
  },
};
const options = {
  absWorkingDir: root, outdir: join(root, "out"), write: false, metafile: true, logLevel: "silent", logLimit: 0,
  bundle: true, format: "esm", platform: "browser", target: "es2024", charset: "utf8", conditions: ["production", "module"],
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" }, loader: { ".css": "empty" }, tsconfigRaw: {},
  chunkNames: "chunk-[hash]", publicPath: SHARED, plugins: [offered],
};

/** The package of a specifier: `lodash` of `lodash/fp`. */
const packageOf = (specifier) => specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
/** The package that a file below node_modules is of. */
const owner = (file) => file.includes("node_modules/") ? packageOf(file.slice(file.lastIndexOf("node_modules/") + 13)) : undefined;

/** What the handler's modules import beside each other, and which of them does so first. */
async function imported() {
  const found = new Map();
  const texts = new Map(modules.map(({ name, text }) => [name, text]));
  await build({
    ...options, metafile: false, outdir: join(root, "handler"),
    entryPoints: modules.map(({ name }, index) => ({ in: name, out: String(index) })),
    plugins: [{
      name: "handler",
      setup(it) {
        it.onResolve({ filter: /.*/ }, ({ path, kind, importer }) => {
          if (kind === "entry-point") return { path, namespace: "handler" };
          if (/^[^./#]/.test(path) && !path.startsWith("node:") && !found.has(path)) found.set(path, importer.replace(/^handler:/, ""));
          return { path, external: true };
        });
        it.onLoad({ filter: /.*/, namespace: "handler" }, ({ path }) => {
          const loader = path.endsWith(".json") ? "json" : /\.m?js$/.test(path) ? "js" : "ts";
          return { contents: texts.get(path), loader };
        });
      },
    }],
  });
  return found;
}

/** Where each of these is, as far as it is there. */
async function resolved(specifiers) {
  const found = new Map();
  await build({
    ...options, metafile: false, stdin: { contents: "" },
    plugins: [{
      name: "resolved",
      setup(it) {
        it.onStart(async () => {
          for (const specifier of specifiers) {
            const { errors, path } = await it.resolve(specifier, { kind: "import-statement", resolveDir: root });
            if (!errors.length && path) found.set(specifier, path);
          }
        });
      },
    }],
  });
  return found;
}

/** Which of these files are ES modules. */
async function formats(files) {
  const alone = { name: "alone", setup: (it) => it.onResolve({ filter: /.*/ }, ({ kind }) => kind === "entry-point" ? undefined : { external: true }) };
  const entryPoints = files.map((file, index) => ({ in: file, out: String(index) }));
  const { metafile } = await build({ ...options, entryPoints, plugins: [alone] });
  return new Set(Object.entries(metafile.inputs).filter(([, it]) => it.format === "esm").map(([file]) => join(root, file)));
}

/** The names that a CommonJS module exports, as Node.js finds them: by reading. */
function names(file, seen = new Set()) {
  if (seen.has(file) || !/\.c?js$/.test(file)) return [];
  seen.add(file);
  let found;
  try { found = parse(readFileSync(file, "utf8"), file); } catch { return []; }
  const further = found.reexports.flatMap((it) => {
    try { return names(createRequire(file).resolve(it), seen); } catch { return []; }
  });
  return [...new Set([...found.exports, ...further])].filter((name) => /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name));
}

/** A module that exports what a CommonJS module does. It is beside package.json, whose `type` says what the default is. */
function wrapped(file, index) {
  const wrapper = join(root, `.entry-${index}.js`);
  const all = ["default", ...names(file).filter((name) => !["default", "__esModule"].includes(name))];
  writeFileSync(wrapper, `export { ${all.join(", ")} } from ${JSON.stringify(file)};\n`);
  return wrapper;
}

/** Whether a package is made of native code. */
function isNative(name) {
  const folder = join(root, "node_modules", name);
  const tools = ["bindings", "node-gyp-build", "node-addon-api", "prebuild-install", "@mapbox/node-pre-gyp", "node-pre-gyp"];
  try {
    const { dependencies = {}, gypfile, napi, binary } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return existsSync(join(folder, "binding.gyp")) || Boolean(gypfile || napi || binary) || tools.some((tool) => tool in dependencies);
  } catch { return false; }
}

/** Files that are no package's: one that a package brings from elsewhere on this machine is not sent anywhere. */
const outside = ({ inputs }) => Object.keys(inputs).find((it) => !/^(node_modules\/|\.entry-\d+\.js$|offered:|\(disabled\):)/.test(it));

/** Why a package cannot be had, from what the bundler says: what the most decisive of its words is. */
function refusal(name, errors) {
  const found = errors.map(({ text, location }) => {
    const by = location ? owner(location.file) ?? name : name;
    const missing = /^Could not resolve "(.+)"/.exec(text)?.[1];
    if (/"\.node" files/.test(text) || isNative(by)) return { package: name, by, reason: "native" };
    if (missing && isBuiltin(missing)) return { package: name, by, reason: "node", module: missing.replace(/^node:/, "") };
    if (missing && /^[^./#]/.test(missing)) return { package: name, by, reason: "missing", module: missing };
    return { package: name, by, reason: "other", words: location ? `${location.file}:${location.line}: ${text}` : text };
  });
  if (isNative(name)) return { package: name, by: name, reason: "native" };
  return ["native", "node", "missing", "other"].map((reason) => found.find((it) => it.reason === reason)).find(Boolean);
}

async function main() {
  await init();
  let wanted;
  try { wanted = await imported(); } catch ({ errors = [], message }) {
    const at = ({ location, text }) => location ? `${location.file.replace(/^handler:/, "")}:${location.line}: ${text}` : text;
    return answer({ refused: [{ reason: "handler", words: errors.length ? at(errors[0]) : message }] });
  }
  for (const name of given) wanted.delete(name);
  const undeclared = [...wanted].filter(([it]) => !dependencies.includes(packageOf(it)) && !isBuiltin(it) && it !== "hypervisor");
  if (undeclared.length) {
    return answer({ refused: undeclared.map(([it, by]) => ({ package: packageOf(it), by, reason: "undeclared" })) });
  }
  const declared = dependencies.filter((it) => !given.includes(it));
  const asked = [...wanted.keys()].filter((it) => dependencies.includes(packageOf(it)));
  const found = await resolved(new Set([...declared, ...asked]));
  const absent = asked.filter((it) => !found.has(it));
  if (absent.length) {
    return answer({ refused: absent.map((it) => ({ package: packageOf(it), by: wanted.get(it), reason: "absent", module: it })) });
  }
  const packages = {};
  for (const [specifier, file] of found) {
    // The engine takes what is named so for JSON.
    if (!specifier.endsWith(".json")) continue;
    packages[specifier] = readFileSync(file, "utf8");
    found.delete(specifier);
  }
  const one = (name, errors) => ({ refused: [refusal(name, errors)] });
  let modern;
  try { modern = await formats([...found.values()]); } catch ({ errors, message }) {
    const name = errors?.[0]?.location ? owner(errors[0].location.file) : undefined;
    return answer(one(name ?? [...found.keys()][0], errors?.length ? errors : [{ text: message }]));
  }
  const entry = ([specifier, file], index) => ({ in: modern.has(file) ? file : wrapped(file, index), out: specifier });
  const entryPoints = [...found].map(entry);
  const made = (entryPoints) => build({ ...options, entryPoints, splitting: true });
  try {
    const { outputFiles, metafile } = await made(entryPoints);
    const file = outside(metafile);
    if (file) {
      const [by] = Object.entries(metafile.inputs).find(([, it]) => it.imports.some(({ path }) => path === file)) ?? [""];
      return answer({ refused: [{ package: owner(by) ?? declared[0], reason: "outside", file }] });
    }
    const entries = new Set(entryPoints.map(({ out }) => out));
    for (const { path, text } of outputFiles) {
      const name = path.slice(options.outdir.length + 1);
      const specifier = name.replace(/\.js$/, "");
      // Others name a shared part by its whole path.
      packages[entries.has(specifier) ? specifier : SHARED + name] = text;
    }
    answer({ packages });
  } catch (all) {
    const refused = [];
    for (const entry of entryPoints) {
      try { await made([entry]); } catch ({ errors, message }) {
        refused.push(refusal(packageOf(entry.out), errors?.length ? errors : [{ text: message }]));
      }
    }
    answer(refused.length ? { refused } : one(declared[0], all.errors?.length ? all.errors : [{ text: all.message }]));
  }
}

await main();
