// A layer's masks: the chosen head's large and labelled, all heads' small.

const owners = () => DATA.roles.attributes.flatMap((_, a) => Array(DATA.facts.tokens_per_attribute).fill(a));

function groupNames() {
  const each = DATA.facts.tokens_per_attribute;
  return ["[CLS]", "patches", ...owners().map((a, i) => (each === 1 ? DATA.roles.attributes[a] : `${DATA.roles.attributes[a]} ${(i % each) + 1}`))];
}

const maskOf = (i, roles) => mayAttend(roles[i], DATA.roles.entries[i].concept, DATA.roles.attributes, owners(), STATE.routing);

// Squares of a mask; the patches' row and column are wider, because they are many.
function squares(mask, role, side, corner) {
  const size = mask.map((_, i) => (i === 1 ? 1.8 : 1));
  const edge = size.map((_, i) => size.slice(0, i).reduce((a, b) => a + b, 0) * side);
  const inner = edge[2];
  const whole = edge.at(-1) + size.at(-1) * side;
  const drawn = mask.flatMap((row, q) => row.map((open, k) => svg("rect", {
    class: open ? "open" : "shut", "data-query": q, "data-key": k, "data-open": open ? 1 : 0, x: corner[0] + edge[k], y: corner[1] + edge[q],
    width: size[k] * side, height: size[q] * side, fill: open ? COLORS.roles[role] : null })));
  drawn.push(svg("line", { class: "border", x1: corner[0] + inner, x2: corner[0] + inner, y1: corner[1], y2: corner[1] + whole }),
    svg("line", { class: "border", x1: corner[0], x2: corner[0] + whole, y1: corner[1] + inner, y2: corner[1] + inner }));
  return { drawn, whole, middle: edge.map((e, i) => e + (size[i] * side) / 2) };
}

function sentence(role, concept) {
  if (role === "mixed") return "Mixed: everything sees everything.";
  if (role === "attribute") {
    const rest = STATE.routing === "exclusive" ? ` The other attributes’ tokens see only themselves.` : " The other attributes’ tokens read the picture here as well, though nobody reads them.";
    return `Attribute (${concept}), Eq. 9: of all attribute tokens only ${concept}’s can be read.${rest}`;
  }
  return "Shielded, Eq. 8: [CLS] and patches never see a token, and no token sees the picture.";
}

function drawMasks(roles) {
  const { entries, heads, first_layer: first } = DATA.roles;
  const entry = entries[STATE.head];
  const role = roles[STATE.head];
  const names = groupNames();
  const corner = [84, 78];
  const large = squares(maskOf(STATE.head, roles), role, Math.min(26, 220 / (names.length + 0.8)), corner);
  const text = sentence(role, entry.concept);
  show("mask-large", svg("svg", { class: "mask", viewBox: `0 0 ${corner[0] + large.whole + 2} ${corner[1] + large.whole + 2}`, role: "img", "aria-label": text },
    ...large.drawn,
    ...names.flatMap((name, i) => [
      svg("text", { x: corner[0] - 6, y: corner[1] + large.middle[i] + 4, "text-anchor": "end" }, name),
      svg("text", { transform: `translate(${corner[0] + large.middle[i] + 4} ${corner[1] - 6}) rotate(-90)` }, name)])),
  el("figcaption", {}, el("b", {}, `L${entry.layer} H${entry.head}. `), text));
  drawSmall((entry.layer - first) * heads, roles);
  for (const input of at("layers").querySelectorAll("input")) input.checked = Number(input.value) === entry.layer;
  show("routing-says", STATE.routing === "printed"
    ? "As printed, Eq. 9 hides the other attributes’ tokens as keys alone. As queries all tokens read the picture in every attribute head, so they all read the same."
    : "Exclusive [ours]: in an attribute head, the other attributes’ tokens see themselves alone. Only the head’s own token reads the picture there.");
}

// One button a head; a mask that stays as it was is not drawn again.
function drawSmall(start, roles) {
  [...at("mask-small").children].forEach((button, h) => {
    const i = start + h;
    button.setAttribute("aria-pressed", String(i === STATE.head));
    const drawn = `${i} ${roles[i]} ${STATE.routing}`;
    if (button.dataset.drawn === drawn) return;
    const { layer, concept } = DATA.roles.entries[i];
    const small = squares(maskOf(i, roles), roles[i], 10, [1, 1]);
    const label = `L${layer} H${h}: ${COLORS.names[roles[i]]}, ${concept}`;
    Object.assign(button.dataset, { drawn, tip: label, head: i });
    button.setAttribute("aria-label", label);
    button.replaceChildren(
      svg("svg", { class: "mask", viewBox: `0 0 ${small.whole + 2} ${small.whole + 2}`, "aria-hidden": "true" }, ...small.drawn),
      `H${h} ${["attribute", "other"].includes(roles[i]) ? concept : roles[i] === "mixed" ? "mixed" : "general"}`);
  });
}

function buildMasks() {
  const { first_layer: first, layers, heads } = DATA.roles;
  show("layers", ...Array.from({ length: layers - first + 1 }, (_, n) => el("label", {},
    el("input", { type: "radio", name: "layer", value: String(first + n), onchange: () => choose({ head: n * heads + (STATE.head % heads) }) }), ` L${first + n}`)));
  show("mask-small", ...Array.from({ length: heads }, () => el("button", { type: "button", onclick: (event) => choose({ head: Number(event.currentTarget.dataset.head) }) })));
}
