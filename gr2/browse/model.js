"use strict";
// What the page knows: its data, read once, and the answers to questions about it. A slate is its row, a number.

const INPUT = "input_order", PART = 100;  // PART: slates whose details are packed together, as in page.py
let data, systems;  // systems[0] is the input order
let packed, parts = [];  // what the page holds; promises of the details that were asked for

async function readData() {
  packed = document.getElementById("data").textContent.split("\n");
  data = await unpack(packed[0]);
  data.slates.count = data.slates.id.length;
  systems = [{ name: INPUT, place: data.slates.place, first: Array(data.slates.count).fill(0) }, ...data.systems];
  systems.forEach((system, at) => {
    const known = system.place.filter(place => place);
    system.quality = known.reduce((sum, place) => sum + 1 / place, 0) / known.length || 0;
    system.at = at;
  });
}

async function unpack(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}

/** What is shown of one slate alone: labels, scores, facts, ...; in `systems` the order, score, ... that each gave. */
async function detailsOf(slate) {
  const part = Math.floor(slate / PART), row = slate % PART;
  parts[part] ??= unpack(packed[part + 1]);
  const pick = table => Object.fromEntries(Object.entries(table).map(([name, column]) => [name, column[row]]));
  const { systems: others, ...columns } = await parts[part], own = pick(columns);
  const input = { order: data.slates.candidates[slate].map((_, place) => place), score: own.scores };
  return { ...own, systems: [input, ...others.map(pick)] };
}

const systemNamed = name => systems.find(system => system.name === name);

const ranks = (system, slate) => system.first[slate] !== null;

/** Places that the relevant item rose, negative where it fell; null where that is not known. */
function gainOf(slate, system, against) {
  const [to, from] = [system.place[slate], against.place[slate]];
  return to && from ? from - to : null;
}

const isUnusable = (slate, system) => Boolean(system.valid) && system.valid[slate] === false;

/** How far apart the systems put the relevant item, in places. */
function spreadOf(slate, shown) {
  const known = shown.map(system => system.place[slate]).filter(place => place);
  return known.length ? Math.max(...known) - Math.min(...known) : 0;
}

function disagree(slate, shown) {
  const place = systems[0].place[slate], own = shown.filter(system => system.at && ranks(system, slate));
  if (!place) return new Set(own.map(system => system.first[slate])).size > 1;
  return own.some(system => system.place[slate] < place) && own.some(system => system.place[slate] > place);
}

const hasTrace = (slate, shown) =>
  data.slates.traced[slate] || shown.some(system => system.explains?.[slate]);

const FILTERS = {
  all: ["all slates", () => true],
  up: ["moved up", (slate, on) => gainOf(slate, on.system, on.against) > 0],
  down: ["moved down", (slate, on) => gainOf(slate, on.system, on.against) < 0],
  same: ["same place", (slate, on) => gainOf(slate, on.system, on.against) === 0],
  unusable: ["unusable", (slate, on) => isUnusable(slate, on.system)],
  disagree: ["disagree", (slate, on) => disagree(slate, on.columns)],
  traced: ["with a trace", (slate, on) => hasTrace(slate, on.columns)],
};

const SORTS = {
  file: ["file order", null],
  gain: ["largest gain", (slate, on) => -(gainOf(slate, on.system, on.against) ?? -Infinity)],
  loss: ["largest loss", (slate, on) => gainOf(slate, on.system, on.against) ?? Infinity],
  spread: ["widest spread", (slate, on) => -spreadOf(slate, on.columns)],
};

/** Slates of a view, in its order; and which items its words found: 1 in an array, or null without words. */
function findSlates(view) {
  const [system, against] = [systemNamed(view.system), systemNamed(view.against)];
  const on = { system, against, columns: view.columns.map(systemNamed) };
  const search = readSearch(view.q), [, keeps] = FILTERS[view.show], [, key] = SORTS[view.sort];
  const slates = [];
  for (let slate = 0; slate < data.slates.count; slate++) {
    if (keeps(slate, on) && search.fits(slate)) slates.push(slate);
  }
  if (key) {
    const keys = new Map(slates.map(slate => [slate, key(slate, on)]));
    slates.sort((one, other) => keys.get(one) - keys.get(other) || one - other);
  }
  return { slates, hits: search.hits };
}

/** What is searched: an item's id, title and categories; made for the first search. */
function itemTexts() {
  const { id, title, categories } = data.items;
  data.items.text ??= id.map((own, item) => [own, title[item], ...categories[item]].join(" ").toLowerCase());
  return data.items.text;
}

/** `user:ID item:ID slate:ID words`: words are parts of one item's text, or together the id of a user or slate. */
function readSearch(text) {
  const { id, user, history, candidates } = data.slates, exact = { user: [], item: [], slate: [] }, words = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const [, kind, value] = word.match(/^(user|item|slate):(.+)$/i) ?? [];
    if (kind) exact[kind.toLowerCase()].push(value);
    else words.push(word.toLowerCase());
  }
  const finds = words.length || exact.item.length;
  const hits = finds ? Uint8Array.from(itemTexts(), (found, item) =>
    words.every(word => found.includes(word)) && exact.item.every(named => data.items.id[item] === named)) : null;
  const whole = words.join(" "), isHit = item => hits[item];
  const fits = slate =>
    exact.user.every(named => user[slate] === named) && exact.slate.every(named => id[slate] === named) &&
    (!finds || candidates[slate].some(isHit) || history[slate].some(isHit) ||
      (!exact.item.length && (user[slate].toLowerCase() === whole || id[slate].toLowerCase() === whole)));
  return { hits, fits };
}
