import * as self from "./counter_FIXTURE.js";
export { self };
export let total = 0;
export const add = (n) => { total += n; };
export default total;
