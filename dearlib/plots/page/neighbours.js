// A query's nearest pictures by each token's feature.

function buildNeighbours() {
  const queries = [...new Set(DATA.neighbours.map((row) => row.query))];
  at("neighbours-title").closest("section").hidden = !queries.length;
  show("queries", ...queries.map((query) => el("button", { type: "button", "data-query": query, "aria-label": `Ask: ${DATA.pictures[query].caption}`, "data-tip": DATA.pictures[query].caption, onclick: () => choose({ query }) },
    el("img", { src: DATA.pictures[query].image, alt: "" }))));
  return queries[0] ?? null;
}

function drawNeighbours() {
  if (STATE.query === null) return;
  for (const button of at("queries").children) button.setAttribute("aria-pressed", String(Number(button.dataset.query) === STATE.query));
  const rows = DATA.neighbours.filter((row) => row.query === STATE.query && row.routing === STATE.routing);
  show("neighbours-say", `Asked: ${DATA.pictures[STATE.query].caption}. Its nearest pictures by each token’s feature, with the routing chosen above (${STATE.routing}); ✓ marks those that share the token’s factor with it.`);
  show("neighbours", ...(rows.length ? rows.map(neighbourRow) : [el("p", { className: "quiet" }, `This file has no neighbours for the routing “${STATE.routing}”.`)]));
}

function neighbourRow(row) {
  const told = row.shared.filter((shared) => shared !== null);
  const said = told.length ? `${told.filter(Boolean).length} of ${told.length} share it` : "";
  return el("div", { className: "row", "data-token": row.token },
    el("div", { className: "name" }, row.token, el("small", {}, said)),
    el("div", { className: "strip" }, ...row.found.map((number, n) => el("div", { className: `found ${row.shared[n] === null ? "" : row.shared[n] ? "yes" : "no"}` }, image(number)))));
}
