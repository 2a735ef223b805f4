// The page's state is its address, `#slate=ID&q=words&show=up` and so on: changes go there, and are drawn from there.

const BEST = 4;  // systems that are side by side at first: those that put the relevant item highest
let found = { slates: [], hits: null };  // what the filters keep
let current = null, drawn = null;  // the view with its slate, and the filters that `found` is of
let shown = null;  // the slate that has been drawn

function defaults() {
  const sorted = data.systems.toSorted((one, other) => other.quality - one.quality);
  const best = sorted.slice(0, BEST).map(system => system.name);
  const columns = data.systems.map(system => system.name).filter(name => best.includes(name));
  return { slate: null, q: "", show: "all", sort: "file", system: best[0] ?? INPUT, against: INPUT, columns };
}

/** The view that the address holds; what it does not say, or says wrongly, is as in `defaults`. */
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1)), view = defaults();
  if (given.has("slate")) view.slate = given.get("slate");
  if (given.has("q")) view.q = given.get("q");
  for (const [name, known] of [["show", FILTERS], ["sort", SORTS]]) {
    if (Object.hasOwn(known, given.get(name))) view[name] = given.get(name);
  }
  for (const name of ["system", "against"]) if (systemNamed(given.get(name))) view[name] = given.get(name);
  if (given.has("columns")) view.columns = given.getAll("columns").filter(name => systemNamed(name) && name !== INPUT);
  return view;
}

function addressOf(view) {
  const usual = defaults(), told = new URLSearchParams();
  for (const [name, value] of Object.entries(view)) {
    if (name === "columns") {
      const names = value.join() === usual.columns.join() ? [] : value.length ? value : [""];
      for (const column of names) told.append(name, column);
    } else if (value !== usual[name]) told.set(name, value);
  }
  return `#${told}`;
}

/** Replaces the view; links, in contrast, make an entry of the browser's history. */
function go(view) {
  history.replaceState(null, "", addressOf(view));
  draw();
}

async function draw() {
  const view = readAddress(), filters = addressOf({ ...view, slate: null });
  if (filters !== drawn) {
    found = findSlates(view);
    drawControls(view);
    document.getElementById("list").scrollTop = 0;
  }
  drawn = filters;
  document.body.classList.toggle("open", view.slate !== null);
  const slate = view.slate === null ? found.slates[0] ?? -1 : data.slates.id.indexOf(view.slate);
  const now = current = { ...view, slate: data.slates.id[slate] ?? null };
  const at = found.slates.indexOf(slate);
  drawList(current, found.slates, view.slate === null ? -1 : at);
  const neighbours = at < 0 ? [] : [found.slates[at - 1], found.slates[at + 1]];
  const main = document.getElementById("slate"), own = slate < 0 ? null : await detailsOf(slate);
  if (current !== now) return;  // another view has been asked for
  if (own) drawSlate(current, slate, own, found.hits, neighbours);
  else main.replaceChildren(view.slate === null ? "No slate matches." : `No slate is called ${view.slate}.`);
  if (current.slate !== shown) main.scrollTop = 0;
  shown = current.slate;
}

function drawControls(view) {
  const names = systems.map(system => [system.name, system.name]);
  const kinds = table => Object.entries(table).map(([key, [label]]) => [key, label]);
  const choices = { show: kinds(FILTERS), sort: kinds(SORTS), system: names.slice(1), against: names };
  for (const [id, options] of Object.entries(choices)) {
    const isChosen = value => value === view[id] && "";
    const made = options.map(([value, label]) => element("option", { value, selected: isChosen(value) }, label));
    document.getElementById(id).replaceChildren(...made);
  }
  const search = document.getElementById("q");
  if (search.value.trim() !== view.q) search.value = view.q;
  const [kept, all] = [found.slates.length, data.slates.count].map(count => count.toLocaleString("en"));
  document.getElementById("count").textContent = `${kept} of ${all} slates. ${data.notes.join(" ")}`;
  document.getElementById("columns").replaceChildren(columnsTable(view));
}

/** A line for each system: whether it is shown, and what it does to all slates of the page. */
function columnsTable(view) {
  const share = (system, test) => {
    const known = data.slates.id.map((_, slate) => slate).filter(slate => ranks(system, slate));
    return `${(100 * known.filter(test).length / Math.max(1, known.length)).toFixed(0)} %`;
  };
  const rows = data.systems.map(system => {
    const box = element("input", { type: "checkbox", name: "column", value: system.name });
    box.checked = view.columns.includes(system.name);
    box.onchange = () => go({ ...readAddress(), columns: checkedColumns() });
    return element("tr", {}, element("td", { class: "text" }, element("label", {}, box, ` ${system.name}`)),
      element("td", {}, share(system, slate => gainOf(slate, system, systems[0]) > 0)),
      element("td", {}, share(system, slate => gainOf(slate, system, systems[0]) < 0)),
      element("td", {}, share(system, slate => isUnusable(slate, system))));
  });
  const heads = ["up", "down", "unusable"].map(name => element("th", {}, name));
  return element("table", {}, element("tr", {}, element("th", { class: "text" }, "system"), heads), rows);
}

const checkedColumns = () => [...document.querySelectorAll("[name=column]:checked")].map(box => box.value);

/** To the slate `step` rows further down the list; from none, or one that the list lacks, to its first. */
function walk(step) {
  const view = readAddress();
  const slate = view.slate === null ? found.slates[0] : data.slates.id.indexOf(view.slate);
  const at = found.slates.indexOf(slate);
  const next = Math.min(Math.max(0, at < 0 ? 0 : at + step), found.slates.length - 1);
  if (found.slates.length) go({ ...view, slate: data.slates.id[found.slates[next]] });
}

function nextOf(name, choices) {
  const view = readAddress(), at = choices.indexOf(view[name]);
  go({ ...view, [name]: choices[(at + 1) % choices.length] });
}

const ACTIONS = {
  j: () => walk(1),
  ArrowDown: () => walk(1),
  k: () => walk(-1),
  ArrowUp: () => walk(-1),
  Home: () => walk(-Infinity),
  End: () => walk(Infinity),
  s: () => nextOf("system", data.systems.map(system => system.name)),
  f: () => nextOf("show", Object.keys(FILTERS)),
  "/": () => document.getElementById("q").select(),
  "?": () => document.getElementById("help").showModal(),
};

function onKey(event) {
  const typing = event.target.closest("input:not([type=checkbox]), select"), help = document.getElementById("help");
  if (event.key === "Escape" && typing) {
    event.preventDefault();  // which would empty the search
    event.target.blur();
  }
  if (typing || help.open || event.ctrlKey || event.metaKey || event.altKey || !ACTIONS[event.key]) return;
  event.preventDefault();
  ACTIONS[event.key]();
}

/** All that stands for the item under the pointer is marked. */
function onPoint(event) {
  const item = event.target.closest("[data-item]")?.dataset.item;
  for (const other of document.querySelectorAll(".same")) other.classList.remove("same");
  if (item) for (const other of document.querySelectorAll(`[data-item="${item}"]`)) other.classList.add("same");
}

async function start() {
  await readData();
  document.getElementById("about").textContent = `${data.split} slates`;
  const search = document.getElementById("q");
  search.oninput = () => go({ ...readAddress(), q: search.value.trim(), slate: null });
  for (const id of ["show", "sort", "system", "against"]) {
    const choice = document.getElementById(id);
    choice.onchange = () => go({ ...readAddress(), [id]: choice.value, slate: null });
  }
  document.getElementById("help-button").onclick = ACTIONS["?"];
  document.getElementById("slate").onpointerover = onPoint;
  window.onhashchange = draw;
  window.onresize = () => drawList(current, found.slates, -1);
  document.onkeydown = onKey;
  await draw();
  requestAnimationFrame(() => setTimeout(() => performance.mark("drawn")));
}

start().catch(error => {
  const main = document.getElementById("slate");
  main.textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
});
