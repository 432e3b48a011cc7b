// Agents reach the origins that the operator lists, and programs have the size that they may have. `rules.txt`:
//
//   {"origins": ["https://api.example.com"], "largest": 8000000}

export const policy = {
  authorize(rules, action) {
    const { origins, largest } = read(rules);
    const { kind, resource, sizes } = action;
    if (kind === "outgoing-request") {
      const isListed = origins.some((origin) => resource === origin || resource.startsWith(`${origin}/`));
      return isListed ? { tag: "allow" } : { tag: "deny", val: "this origin is not on the operator's list" };
    }
    return Number(sizes.program) <= largest
      ? { tag: "allow" }
      : { tag: "deny", val: `the program has ${sizes.program} bytes, and may have ${largest}` };
  },

  check(rules) {
    read(rules);
  },
};

function read(rules) {
  const wrong = (val) => ({ tag: "invalid-rules", val });
  let read;
  try {
    read = JSON.parse(Array.from(rules, (byte) => String.fromCharCode(byte)).join(""));
  } catch (error) {
    throw wrong(`not JSON: ${error.message}`);
  }
  const { origins, largest } = read ?? {};
  if (!Array.isArray(origins) || !origins.every((it) => /^https?:\/\/[^/]+$/.test(it))) {
    throw wrong('"origins" is not a list of origins like "https://api.example.com"');
  }
  if (!Number.isSafeInteger(largest) || largest < 0) throw wrong('"largest" is not a number of bytes');
  return { origins, largest };
}
