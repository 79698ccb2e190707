// Making elements, and how numbers are written.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style" || !(name in node) || name.includes("-") || node.namespaceURI === SVG) node.setAttribute(name, value === true ? "" : value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const at = (id) => document.getElementById(id);
const show = (id, ...children) => at(id).replaceChildren(...children);
const bits = (value) => `${value.toFixed(2)} bits`;
const percent = (share) => `${(100 * share).toFixed(0)} %`;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;

// The width of a drawing's place in pixels, so that its letters are as large as the page's on every screen. Measured once and
// when the window changes: to ask for it between two drawings makes the browser lay out the page each time.
const ROOM = {};
function measure() {
  for (const id of ["strip", "entropy", "distribution", "effects"]) ROOM[id] = Math.round(Math.min(560, Math.max(220, at(id).clientWidth)));
}

// Black or white, whichever is easier to read on a colour such as #0072B2.
function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16) / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return (light + 0.05) ** 2 > 1.05 * 0.05 ? "#111111" : "#ffffff";
}

const swatch = (color) => el("span", { className: "swatch", style: `background:${color}`, "aria-hidden": "true" });

// A caption that follows pointer and focus, for elements that carry data-tip.
function tooltips(root) {
  const tip = at("tip");
  const hide = () => { tip.hidden = true; };
  const appear = (event) => {
    const target = event.target.closest("[data-tip]");
    if (!target) return hide();
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    const box = target.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 8 : box.top - tip.offsetHeight - 8}px`;
  };
  root.addEventListener("pointerover", appear);
  root.addEventListener("focusin", (event) => { if (event.target.matches(":focus-visible")) appear(event); });
  root.addEventListener("focusout", hide);
  root.addEventListener("pointerleave", hide);
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}
