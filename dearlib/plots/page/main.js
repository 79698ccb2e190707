// The page: what is chosen, and drawing it anew when that changes.

const { explorer: DATA, colors: COLORS } = JSON.parse(at("data").textContent);
const chanceKnown = DATA.heads.every((head) => head.null);
const given = DATA.roles.settings;
const FILE = {
  rule: given.rule === "null" && chanceKnown ? "null" : "thresholds",
  low: typeof given.low === "number" ? given.low : 0.5,
  high: typeof given.high === "number" ? given.high : 0.8,
};
const STATE = { ...FILE, routing: given.routing === "exclusive" ? "exclusive" : "printed", head: 0, query: null };

function rolesNow() {
  const { entries, concepts, attributes } = DATA.roles;
  return entries.map((entry, i) => (STATE.rule === "null"
    ? byNull(entry, DATA.heads[i].null, attributes)
    : byThresholds(entry, concepts.length, STATE.low, STATE.high, attributes)));
}

function choose(change) {
  Object.assign(STATE, change);
  draw();
  const entry = DATA.roles.entries[STATE.head];
  try { history.replaceState(null, "", `#L${entry.layer}H${entry.head}`); } catch { /* a sandboxed frame has no history of its own */ }
}

let drawn = {}; // what the page shows now: only what has changed is drawn anew

function draw() {
  const roles = rolesNow();
  const changed = (...names) => names.some((name) => drawn[name] !== STATE[name]);
  drawMap(roles);
  drawStrip(roles);
  drawControls(roles);
  drawVerdict(roles);
  if (changed("head")) drawHead();
  drawMasks(roles);
  if (changed("query", "routing")) drawNeighbours();
  drawn = { ...STATE };
}

function drawControls(roles) {
  const most = Math.log2(DATA.roles.concepts.length);
  for (const name of ["rule", "routing"]) {
    for (const input of document.querySelectorAll(`input[name=${name}]`)) input.checked = input.value === STATE[name];
  }
  for (const end of ["low", "high"]) {
    at(end).value = STATE[end];
    at(end).disabled = STATE.rule === "null";
    at(end).setAttribute("aria-valuetext", `${STATE[end].toFixed(2)} of log2 k, ${bits(STATE[end] * most)}`);
    at(`${end}-says`).textContent = `${STATE[end].toFixed(2)} · log₂ ${DATA.roles.concepts.length} = ${bits(STATE[end] * most)}`;
  }
  show("rule-says", STATE.rule === "null"
    ? "Specialised: below the 5 % quantile of as many phrases drawn blindly, and one concept has more than half of the phrases. Generalization: not below it, and no concept has more than a third."
    : "Two cuts through the entropies, as fractions of log₂ k. The paper names no numbers for them." + (chanceKnown ? "" : " This file has no draws of chance to compare with."));
  const others = roles.filter((role, i) => role !== DATA.roles.entries[i].role).length;
  show("differ", others ? `${others} of ${roles.length} heads have another role than in the file.` : "All roles are those of the role file.");
}

// One threshold pushes the other before it: low stays below high.
function moved(event) {
  const value = Number(event.target.value);
  if (event.target.id === "low") choose({ low: value, high: Math.max(STATE.high, Math.round(100 * value + 1) / 100) });
  else choose({ high: value, low: Math.min(STATE.low, Math.round(100 * value - 1) / 100) });
}

function theme(chosen) {
  document.documentElement.dataset.theme = chosen;
  at("theme").textContent = chosen === "dark" ? "Light" : "Dark";
  at("theme").setAttribute("aria-label", `Switch to ${chosen === "dark" ? "light" : "dark"} colours`);
}

function start() {
  const { facts, roles } = DATA;
  document.title = `Head explorer: ${roles.model}`;
  show("facts", `${roles.model}, layers ${roles.first_layer} to ${roles.layers}, ${roles.entries.length} heads of ${facts.d_head} dimensions; ${facts.sample} of ${facts.dataset}; ${roles.concepts.length} concepts.`);
  show("origin", `Weights ${roles.weights_sha256.slice(0, 12)}, phrases ${roles.pool_sha256.slice(0, 12)}. Every number was computed by dearlib from these weights; nothing on this page is loaded from elsewhere.`);
  at("generated").hidden = !facts.generated;
  show("generated", facts.generated ? `Generated input, no result: ${facts.generated}` : "");
  buildMap();
  buildMasks();
  STATE.query = buildNeighbours();
  const asked = /^#L(\d+)H(\d+)$/.exec(location.hash);
  const found = asked ? roles.entries.findIndex((e) => e.layer === Number(asked[1]) && e.head === Number(asked[2])) : -1;
  STATE.head = Math.max(0, found);
  for (const id of ["low", "high"]) at(id).addEventListener("input", moved);
  for (const input of document.querySelectorAll("input[name=rule]")) {
    input.disabled = input.value === "null" && !chanceKnown;
    input.addEventListener("change", () => choose({ rule: input.value }));
  }
  for (const input of document.querySelectorAll("input[name=routing]")) input.addEventListener("change", () => choose({ routing: input.value }));
  at("reset").addEventListener("click", () => choose({ ...FILE }));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  at("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  tooltips(document.body);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    measure();
    drawn = {};
    draw();
  });
  measure();
  draw();
}

start();
