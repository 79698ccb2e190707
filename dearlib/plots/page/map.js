// The map of heads, its legend, and the strip of entropies beneath the sliders.

const cells = [];

function buildMap() {
  const { roles } = DATA;
  at("map").style.setProperty("--heads", roles.heads);
  const header = el("div", { role: "row" }, el("span", { role: "columnheader", "aria-label": "Layer" }),
    ...Array.from({ length: roles.heads }, (_, h) => el("span", { role: "columnheader" }, `H${h}`)));
  const rows = [];
  for (let layer = roles.first_layer; layer <= roles.layers; layer++) {
    const row = el("div", { role: "row" }, el("span", { role: "rowheader" }, `L${layer}`));
    for (let h = 0; h < roles.heads; h++) {
      const i = cells.length;
      const cell = el("div", { className: "cell", role: "gridcell", tabIndex: -1, "aria-selected": "false", onclick: () => choose({ head: i }), onkeydown: (event) => steer(event, i) });
      cells.push(cell);
      row.append(cell);
    }
    rows.push(row);
  }
  show("map", header, ...rows);
}

// Arrow keys go from head to head, Home and End to the ends of a layer; the head that has the focus is the one that is shown.
function steer(event, i) {
  const wide = DATA.roles.heads;
  const start = i - (i % wide);
  const to = { ArrowRight: i + 1, ArrowLeft: i - 1, ArrowDown: i + wide, ArrowUp: i - wide, Home: start, End: start + wide - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  if (to < 0 || to >= cells.length || (event.key.endsWith("t") && to - (to % wide) !== start)) return;
  choose({ head: to });
  cells[to].focus();
}

function drawMap(roles) {
  roles.forEach((role, i) => {
    const entry = DATA.roles.entries[i];
    const cell = cells[i];
    if (cell.tabIndex === 0 || i === STATE.head) {
      cell.tabIndex = i === STATE.head ? 0 : -1;
      cell.setAttribute("aria-selected", i === STATE.head);
    }
    if (cell.dataset.role === role) return;
    const named = role !== "generalization";
    const concept = named && role !== "mixed" ? COLORS.concepts[entry.concept] : null;
    cell.dataset.role = role;
    cell.style.background = COLORS.roles[role];
    cell.style.color = inkOn(COLORS.roles[role]);
    cell.style.setProperty("--concept", concept ?? "transparent");
    cell.textContent = named ? entry.concept.slice(0, 3) : "";
    cell.setAttribute("aria-label", `L${entry.layer} H${entry.head}: ${COLORS.names[role]}, mostly ${entry.concept}, ${bits(entry.entropy)}`);
    cell.dataset.tip = `L${entry.layer} H${entry.head} · ${COLORS.names[role]}\n${percent(leadingShare(entry))} ${entry.concept}, ${bits(entry.entropy)}\n“${entry.phrases[0]}”`;
  });
  show("legend", ...Object.keys(COLORS.roles).map((role) =>
    el("li", { "data-role": role }, swatch(COLORS.roles[role]), `${COLORS.names[role]} `, el("b", {}, String(roles.filter((r) => r === role).length)))));
  const leading = new Set(DATA.roles.entries.filter((_, i) => roles[i] !== "generalization").map((entry) => entry.concept));
  show("concepts", ...[...leading].sort().map((c) => el("li", {}, swatch(COLORS.concepts[c]), el("b", {}, c.slice(0, 3)), c.slice(3))));
}

// All heads by their entropy, stacked where they agree; lines where a role ends, a band where chance lies.
function drawStrip(roles) {
  const { entries, concepts } = DATA.roles;
  const most = Math.log2(concepts.length);
  const [wide, left, r] = [ROOM.strip, 8, 4];
  const x = (value) => left + (wide - 2 * left) * (value / most);
  const stacked = new Map();
  const dots = entries.map((entry, i) => {
    const place = Math.round(x(entry.entropy) / (2 * r));
    const level = stacked.get(place) ?? 0;
    stacked.set(place, level + 1);
    return { i, x: x(entry.entropy), level };
  });
  const high = 2 * r * Math.max(...stacked.values()) + 18;
  const edges = STATE.rule === "thresholds" ? [STATE.low * most, STATE.high * most] : [];
  const nulls = DATA.heads.map((head) => head.null).filter(Boolean);
  const band = nulls.length ? [Math.min(...nulls.map((n) => n.q05)), Math.max(...nulls.map((n) => n.q50))] : null;
  show("strip", svg("svg", { viewBox: `0 0 ${wide} ${high + 30}`, role: "img", "aria-label": "All heads by Concept Entropy, in bits" },
    band && svg("rect", { class: "chance", x: x(band[0]), y: 6, width: Math.max(1, x(band[1]) - x(band[0])), height: high - 6 },
      svg("title", {}, "Chance: from the 5 % quantile of blind phrases to their median")),
    svg("line", { class: "axis", x1: left, x2: wide - left, y1: high, y2: high }),
    ...edges.map((e) => svg("line", { class: "edge", x1: x(e), x2: x(e), y1: 2, y2: high })),
    ...dots.map((dot) => svg("circle", { class: dot.i === STATE.head ? "dot chosen" : "dot", cx: dot.x, cy: high - r - 1 - 2 * r * dot.level, r, fill: COLORS.roles[roles[dot.i]] })),
    ...[0, most / 2, most].map((value, n) => svg("text", { class: "quiet-text", x: x(value), y: high + 14, "text-anchor": ["start", "middle", "end"][n] }, value.toFixed(2))),
    svg("text", { class: "quiet-text", x: wide / 2, y: high + 28, "text-anchor": "middle" }, `Concept Entropy, bits${band ? "; grey: chance, 5 % to median" : ""}`)));
}
