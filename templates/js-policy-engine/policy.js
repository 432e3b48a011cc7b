// Programs may run if their SHA-256 is on the operator's list, `rules.txt`: one digest a line, `#` for comments.

export const policy = {
  // Called before anything is carried out. What is not clearly allowed is denied.
  authorize(rules, action) {
    const subject = Array.from(action.subject, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return listed(rules).has(subject)
      ? { tag: "allow" }
      : { tag: "deny", val: `the program ${subject} is not on the list` };
  },

  // Called before rules are taken into use.
  check(rules) {
    listed(rules);
  },
};

// The digests on the list, in lower case. A list with a mistake decides nothing.
function listed(rules) {
  const digests = new Set();
  const text = Array.from(rules, (byte) => String.fromCharCode(byte)).join("");
  text.split("\n").forEach((line, index) => {
    const digest = line.split("#")[0].trim().toLowerCase();
    if (digest === "") return;
    if (!/^[0-9a-f]{64}$/.test(digest)) {
      throw { tag: "invalid-rules", val: `line ${index + 1}: not a SHA-256 in hexadecimal` };
    }
    digests.add(digest);
  });
  return digests;
}
