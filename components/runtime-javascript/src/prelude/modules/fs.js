// There are no files: standard input is all that can be read.
const { __shared: shared } = globalThis;
const encoding = (options) => typeof options === "string" ? options : options?.encoding;
const none = (path, call) => Object.assign(new Error(`ENOENT: there are no files here, ${call} '${path}'`), { code: "ENOENT", path, syscall: call });
export function readFileSync(path, options) {
  if (path !== 0 && path !== "/dev/stdin") throw none(path, "open");
  const bytes = shared.stdin();
  return encoding(options) ? new TextDecoder().decode(bytes) : bytes;
}
export function writeSync(to, value) {
  if (to !== 1 && to !== 2) throw none(to, "write");
  (to === 1 ? process.stdout : process.stderr).write(value);
  return value.length;
}
export function writeFileSync(path, value) {
  writeSync({ "/dev/stdout": 1, "/dev/stderr": 2 }[path] ?? path, value);
}
export const existsSync = () => false;
export default { existsSync, readFileSync, writeFileSync, writeSync };
