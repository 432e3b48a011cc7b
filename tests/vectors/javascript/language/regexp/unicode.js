/*---
description: properties, sets and surrogates
---*/

assert.same(/^\p{Script=Greek}+$/u.test("λόγος"), true);
assert.same(/^[\p{L}--[a-z]]+$/v.test("Éß") && !/^[\p{L}--[a-z]]$/v.test("a"), true);
assert.same("\u{1F600}".match(/./u)[0].length + "\u{1F600}".match(/./)[0].length, 3);
assert.same(/^\p{Emoji_Keycap_Sequence}$/v.test("1\uFE0F\u20E3"), true);
