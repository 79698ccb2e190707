// What decides a role and what a role lets a token see: the two rules of dearlib.roles.entropy and the masks of dearlib.methods.masks.
// Pure functions; tests compare them with the Python functions, cell by cell.

const SLACK = 1e-9; // rounding of the logarithm must not decide
const RESIDUAL = "none"; // the name of what lies far from every concept: no head specialises in it

function specialised(entry, attributes) {
  if (attributes.includes(entry.concept)) return "attribute";
  return entry.concept === RESIDUAL ? "mixed" : "other";
}

// The share of phrases that the leading concept holds. A concept's label may carry a number that its name does not.
const leadingShare = (entry) => Math.max(...Object.values(entry.distribution));

// Thresholds are fractions of log2 k; both ends belong to the outer roles.
function byThresholds(entry, k, low, high, attributes) {
  const most = Math.log2(k);
  if (entry.entropy <= low * most + SLACK) return specialised(entry, attributes);
  return entry.entropy >= high * most - SLACK ? "generalization" : "mixed";
}

// Against chance: specialised below the 5 % quantile of blind phrases with a leading concept above half; a generalist not below it,
// with no concept above a third.
function byNull(entry, chance, attributes) {
  const share = leadingShare(entry), below = entry.entropy < chance.q05 - SLACK;
  if (below && share > 1 / 2 + SLACK) return specialised(entry, attributes);
  return !below && share <= 1 / 3 + SLACK ? "generalization" : "mixed";
}

// Rows are queries, columns keys, true = may look. Groups: [CLS], patches, then each attribute token, owners[i] its attribute's number.
function mayAttend(role, concept, attributes, owners, routing) {
  const groups = [-1, -1, ...owners];
  const own = role === "attribute" ? attributes.indexOf(concept) : null;
  const original = (i) => i < 2;
  return groups.map((asks, q) => groups.map((asked, k) => {
    if (role === "mixed") return true;
    if (role !== "attribute") return original(q) === original(k);
    if (routing === "exclusive" && !original(q) && asks !== own) return q === k;
    return original(k) || asked === own;
  }));
}
