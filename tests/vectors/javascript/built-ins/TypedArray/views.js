/*---
description: bytes seen as numbers
---*/

const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), view = new DataView(bytes.buffer);
assert.list([view.getUint16(0), view.getUint16(0, true), view.getBigUint64(0) & 0xffn, new Float32Array([1.1])[0] === Math.fround(1.1)], "258,513,8,true");
assert.list([Uint8ClampedArray.of(300, -1, 1.5), Int8Array.of(200), bytes.subarray(2, 4), bytes.toReversed()[0]], "255,0,2,-56,3,4,8");
const grown = new ArrayBuffer(4, { maxByteLength: 8 }), whole = new Uint8Array(grown);
grown.resize(8);
assert.same(whole.length, 8);
const moved = bytes.buffer.transfer();
assert.list([bytes.length, moved.byteLength, moved.detached], "0,8,false");
