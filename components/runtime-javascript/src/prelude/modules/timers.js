const wait = (pause, value) => new Promise((done) => { globalThis.setTimeout(done, pause, value); });
export { wait as setTimeout };
export const setImmediate = (value) => wait(0, value);
export default { setImmediate, setTimeout: wait };
