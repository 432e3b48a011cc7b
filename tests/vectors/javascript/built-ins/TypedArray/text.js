/*---
description: bytes as hexadecimal and base64
---*/

assert.list([Uint8Array.fromHex("c0ffee").toBase64(), Uint8Array.fromBase64("wP/u").toHex()], "wP/u,c0ffee");
