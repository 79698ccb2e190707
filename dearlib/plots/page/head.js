// One head: why it has its role, its entropy, concepts, phrases, effects and pictures.

// What depends on the role as well.
function drawVerdict(roles) {
  const entry = DATA.roles.entries[STATE.head];
  const known = DATA.heads[STATE.head];
  const role = roles[STATE.head];
  show("head-title", `L${entry.layer} H${entry.head}`,
    el("span", { className: "badge", style: `background:${COLORS.roles[role]};color:${inkOn(COLORS.roles[role])}` }, COLORS.names[role]));
  show("why", why(entry, known, role));
  drawEntropy(entry, known, role);
}

// What depends on the head alone.
function drawHead() {
  const entry = DATA.roles.entries[STATE.head];
  const known = DATA.heads[STATE.head];
  drawDistribution(entry);
  drawPhrases(entry, known);
  drawEffects(known);
  drawPictures(known);
}

function why(entry, known, role) {
  const most = Math.log2(DATA.roles.concepts.length);
  const leading = `${percent(leadingShare(entry))} of its phrases are about ${entry.concept}`;
  const core = DATA.roles.attributes.includes(entry.concept) ? "one of the core attributes" : "none of the core attributes";
  const end = { attribute: `, ${core}: it listens to that attribute’s token.`, other: `, ${core}: it never meets an attribute token.`,
    generalization: ": it speaks of many things and is kept as it was.", mixed: ": neither the one nor the other, so it sees everything." }[role];
  if (STATE.rule === "null") {
    const below = entry.entropy < known.null.q05 ? "below" : "not below";
    return `${leading}. Its entropy, ${bits(entry.entropy)}, is ${below} the 5 % quantile of chance (${bits(known.null.q05)}; median ${known.null.q50.toFixed(2)})${end}`;
  }
  const place = role === "mixed" ? "lies between the thresholds" : role === "generalization" ? `is at or above ${bits(STATE.high * most)}` : `is at or below ${bits(STATE.low * most)}`;
  return `${leading}. Its entropy, ${bits(entry.entropy)} of at most ${most.toFixed(2)}, ${place}${end}`;
}

function drawEntropy(entry, known, role) {
  const most = Math.log2(DATA.roles.concepts.length);
  const [wide, left] = [ROOM.entropy, 8];
  const x = (value) => left + (wide - 2 * left) * Math.min(1, value / most);
  const [from, to] = entry.interval;
  const said = `${bits(entry.entropy)}` + (to > from ? `, 95 % interval ${from.toFixed(2)} to ${to.toFixed(2)}` : ", no interval was computed")
    + (known.null ? `; chance: 5 % quantile ${known.null.q05.toFixed(2)}, median ${known.null.q50.toFixed(2)}` : "; chance was not drawn");
  show("entropy",
    svg("svg", { viewBox: `0 0 ${wide} 62`, role: "img", "aria-label": said },
      known.null && svg("rect", { class: "chance", x: x(known.null.q05), y: 6, width: Math.max(2, x(known.null.q50) - x(known.null.q05)), height: 30 }),
      svg("line", { class: "axis", x1: left, x2: wide - left, y1: 36, y2: 36 }),
      svg("line", { x1: x(from), x2: x(to), y1: 21, y2: 21, stroke: COLORS.roles[role], "stroke-width": 4 }),
      svg("circle", { class: "dot chosen", cx: x(entry.entropy), cy: 21, r: 6, fill: COLORS.roles[role] }),
      ...[0, most / 2, most].map((value, n) => svg("text", { class: "quiet-text", x: x(value), y: 50, "text-anchor": ["start", "middle", "end"][n] }, value.toFixed(2)))),
    el("p", { className: "quiet" }, `${said}.`));
}

function drawDistribution(entry) {
  const rows = Object.entries(entry.distribution).filter(([, share]) => share > 0).sort((a, b) => b[1] - a[1]);
  const [wide, high, name] = [ROOM.distribution, 20, 88];
  show("distribution", svg("svg", { viewBox: `0 0 ${wide} ${high * rows.length + 2}`, role: "img", "aria-label": rows.map(([c, s]) => `${c} ${percent(s)}`).join(", ") },
    ...rows.flatMap(([concept, share], n) => [
      svg("text", { x: name - 6, y: n * high + 14, "text-anchor": "end" }, concept),
      svg("rect", { class: "track", x: name, y: n * high + 4, width: wide - name - 40, height: 12, rx: 3 }),
      svg("rect", { x: name, y: n * high + 4, width: (wide - name - 40) * share, height: 12, rx: 3, fill: COLORS.concepts[concept] }),
      svg("text", { class: "quiet-text", x: wide - 34, y: n * high + 14 }, percent(share))])));
}

function drawPhrases(entry, known) {
  const total = known.shares?.reduce((sum, share) => sum + share, 0);
  show("phrases-say", known.shares ? `The bars are shares of this head’s variance over pictures; together ${percent(total)}. Each phrase counts alike in the entropy.` : "Best first; their shares of variance are not in this file.");
  show("phrases", ...entry.phrases.map((phrase, n) => el("li", {},
    el("span", {}, phrase),
    el("span", { className: "of" }, swatch(COLORS.concepts[known.concepts[n]]), known.concepts[n], known.shares ? `, ${percent(known.shares[n])}` : ""),
    known.shares && el("span", { className: "meter" }, el("i", { style: `width:${100 * known.shares[n]}%;background:${COLORS.concepts[known.concepts[n]]}` })))));
}

// All heads share one scale, so that a bar's length means the same wherever one looks.
const LARGEST = () => Math.max(1e-9, ...DATA.heads.flatMap((head) => Object.values(head.effects ?? {}).flatMap((e) => [Math.abs(e.low), Math.abs(e.high)])));

function drawEffects(known) {
  if (!known.effects) {
    show("effects", el("p", { className: "quiet" }, "Not in this file: what the pictures show, factor by factor, is not known there."));
    return;
  }
  const rows = Object.entries(known.effects);
  const wide = ROOM.effects;
  const [below, name] = [wide < 400, 76]; // on a narrow page the numbers stand below the bar
  const high = below ? 36 : 22;
  const bound = LARGEST();
  const x = (value) => name + (wide - name - (below ? 8 : 168)) * (value + bound) / (2 * bound);
  const said = rows.map(([factor, e]) => `${factor} ${signed(e.loss)} (${signed(e.low)} to ${signed(e.high)})`).join(", ");
  show("effects",
    svg("svg", { viewBox: `0 0 ${wide} ${high * rows.length + 4}`, role: "img", "aria-label": said },
      svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: high * rows.length }),
      ...rows.flatMap(([factor, e], n) => {
        const clear = e.low > 0 || e.high < 0;
        const color = COLORS.concepts[factor];
        return [
          svg("text", { x: name - 6, y: n * high + 15, "text-anchor": "end", "font-weight": clear ? 700 : 400 }, factor),
          svg("line", { x1: x(e.low), x2: x(e.high), y1: n * high + 11, y2: n * high + 11, stroke: color, "stroke-width": 3 }),
          svg("circle", { class: "dot", cx: x(e.loss), cy: n * high + 11, r: 4.5, fill: clear ? color : "var(--card)", style: `stroke:${color};stroke-width:2` }),
          svg("text", { class: "quiet-text", x: wide, y: n * high + (below ? 28 : 15), "text-anchor": "end" }, `${signed(e.loss)} [${signed(e.low)}, ${signed(e.high)}]`)];
      })),
    el("p", { className: "quiet" }, `${DATA.facts.loss}, when this head’s contribution is replaced by its mean, with 95 % interval; filled and bold: clear of zero. Right of the line: the head was needed.`));
}

const image = (number) => el("img", { src: DATA.pictures[number].image, alt: DATA.pictures[number].caption, "data-tip": DATA.pictures[number].caption });

function drawPictures(known) {
  if (!known.most.length) {
    show("pictures");
    return;
  }
  show("pictures",
    el("h3", {}, "Pictures it pushes most towards its first phrase"), el("div", { className: "strip" }, ...known.most.map(image)),
    el("h3", {}, "and most away from it"), el("div", { className: "strip" }, ...known.least.map(image)));
}
