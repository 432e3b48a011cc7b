/*---
description: text is made of units, code points and lines
---*/

const smile = "a\u{1F600}";
assert.list([smile.length, [...smile].length, smile.codePointAt(1), smile.at(-1).isWellFormed(), "\ud800".toWellFormed() === "\ufffd"], "3,2,128512,false,true");
assert.list(["abc".padStart(5, "12"), " x ".trim(), "a-b-c".split("-", 2).join("+"), "aXbX".replaceAll("X", (it, at) => at), "\u0041\u030a".normalize().length], "12abc,x,a+b,a1b3,1");
assert.list(["i".toUpperCase(), "ß".toUpperCase(), "ΑΣ".toLowerCase(), "b".localeCompare("a")], "I,SS,ας,1");
