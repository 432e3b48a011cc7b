const { process } = globalThis;
export default process;
export const { env, exit, cwd, hrtime, nextTick, platform, stdin, stdout, stderr, uptime, version, versions } = process;
