"use strict";
// What the page knows: its data, read once, and the answers to questions about it. A slate is its row, a number.

const INPUT = "input_order";
let data, systems;  // systems[0] is the input order

async function readData() {
  const packed = atob(document.getElementById("data").textContent);
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at++) bytes[at] = packed.charCodeAt(at);
  const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  data = await new Response(text).json();
  data.slates.count = data.slates.id.length;
  data.items.text = data.items.title.map((title, item) =>
    [data.items.id[item], title, ...data.items.categories[item]].join(" ").toLowerCase());
  data.items.bySid = new Map(data.items.sid.map((sid, item) => [sid, item]));
  systems = [{ name: INPUT }, ...data.systems];
  for (const system of systems) {
    system.place = data.slates.id.map((_, slate) => findPlace(orderOf(system, slate), slate));
    const known = system.place.filter(place => place);
    system.quality = known.reduce((sum, place) => sum + 1 / place, 0) / known.length || 0;
  }
}

const systemNamed = name => systems.find(system => system.name === name);

/** Places of the slate's candidates, from 0, best first; null where the system did not rank the slate. */
function orderOf(system, slate) {
  return system.order ? system.order[slate] : data.slates.candidates[slate].map((_, place) => place);
}

/** Place from 1 of the first relevant candidate; 0 where none is relevant, or there is no order. */
function findPlace(order, slate) {
  const labels = data.slates.labels[slate];
  return order ? order.findIndex(candidate => labels[candidate] > 0) + 1 : 0;
}

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
  const place = systems[0].place[slate], own = shown.filter(system => system.order?.[slate]);
  if (!place) return new Set(own.map(system => system.order[slate][0])).size > 1;
  return own.some(system => system.place[slate] < place) && own.some(system => system.place[slate] > place);
}

const hasTrace = (slate, shown) =>
  data.traces[slate].length > 0 || shown.some(system => system.reasoning?.[slate]);

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

/** `user:ID item:ID slate:ID words`: words are parts of one item's text, or together the id of a user or slate. */
function readSearch(text) {
  const { id, user, history, candidates } = data.slates, exact = { user: [], item: [], slate: [] }, words = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const [, kind, value] = word.match(/^(user|item|slate):(.+)$/i) ?? [];
    if (kind) exact[kind.toLowerCase()].push(value);
    else words.push(word.toLowerCase());
  }
  const finds = words.length || exact.item.length;
  const hits = finds ? Uint8Array.from(data.items.text, (found, item) =>
    words.every(word => found.includes(word)) && exact.item.every(named => data.items.id[item] === named)) : null;
  const whole = words.join(" "), isHit = item => hits[item];
  const fits = slate =>
    exact.user.every(named => user[slate] === named) && exact.slate.every(named => id[slate] === named) &&
    (!finds || candidates[slate].some(isHit) || history[slate].some(isHit) ||
      (!exact.item.length && (user[slate].toLowerCase() === whole || id[slate].toLowerCase() === whole)));
  return { hits, fits };
}
