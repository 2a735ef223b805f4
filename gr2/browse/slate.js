// One slate: who asked, the orders side by side, its candidates with their facts, and the traces.

const SID = /<\|sid_begin\|>(?:<s_[a-z]_\d+>)+<\|sid_end\|>/g;
const LATEST = 10;  // items of the history that are shown at once

/** `neighbours`: the slates before and after in the list, for its links; undefined where it ends. */
function drawSlate(view, slate, hits, neighbours) {
  const shown = [systems[0], ...view.columns.map(systemNamed)];
  const traces = data.traces[slate];
  const main = document.getElementById("slate"), opened = document.getElementById("facts")?.open;
  main.replaceChildren(
    slateHead(view, slate, neighbours),
    section("History, latest first", historyList(slate, hits)),
    section("Orders side by side", ordersTable(slate, shown, traces, hits)),
    ...traceElements(slate, shown, traces),
    section("Candidates in the input order", candidatesTable(slate, shown, hits), factsTable(slate)),
  );
  if (opened) document.getElementById("facts")?.setAttribute("open", "");
}

const section = (title, ...children) => element("section", {}, element("h3", {}, title), ...children);

function slateHead(view, slate, neighbours) {
  const { id, user, candidates, history } = data.slates;
  const counts = `${data.split}, ${candidates[slate].length} candidates, ${history[slate].length} items of history`;
  const ofUser = addressOf({ ...view, slate: null, q: `user:${user[slate]}`, show: "all" });
  return element(
    "header",
    {},
    element("a", { class: "back", href: addressOf({ ...view, slate: null }) }, "‹ list"),
    element("nav", { class: "steps" }, ["‹ previous", "next ›"].map((name, at) => neighbours[at] === undefined ? null
      : element("a", { href: addressOf({ ...view, slate: id[neighbours[at]] }) }, name))),
    element("h2", {}, `Slate ${id[slate]}`),
    element("p", { class: "soft" }, "user ", element("a", { href: ofUser }, user[slate]), `, ${counts}`),
  );
}

function historyList(slate, hits) {
  const items = data.slates.history[slate].toReversed();
  const entry = item => element("li", { "data-item": item }, titleElement(item, hits), categoriesElement(item));
  const earlier = items.slice(LATEST);
  return [
    element("ol", { class: "history" }, items.slice(0, LATEST).map(entry)),
    earlier.length ? element("details", {}, element("summary", {}, `${earlier.length} earlier`),
      element("ol", { class: "history", start: LATEST + 1 }, earlier.map(entry))) : null,
  ];
}

/** A column for each system, and for each trace that has an order; a row for each place. */
function ordersTable(slate, shown, traces, hits) {
  const candidates = data.slates.candidates[slate];
  const ofSystem = system =>
    ({ name: system.name, order: orderOf(system, slate), system, scores: scoresOf(system, slate) });
  const ofTrace = ({ stage, sample, order }) => ({ name: `${stage} ${sample}`, order });
  const columns = [...shown.map(ofSystem), ...traces.filter(trace => trace.order).map(ofTrace)];
  const heads = columns.map(column =>
    element("th", { class: "text" }, column.name, element("br"), orderNote(slate, column)));
  const rows = candidates.map((_, place) => element(
    "tr", {}, element("th", {}, String(place + 1)), columns.map(column => orderCell(slate, column, place, hits))));
  return scrolling(element("table", { class: "orders" }, element("tr", {}, element("th"), heads), rows));
}

function scoresOf(system, slate) {
  return system.order ? system.score?.[slate] : data.slates.scores[slate];
}

function orderNote(slate, { order, system }) {
  if (!order) return toned("soft", "not ranked");
  if (system && isUnusable(slate, system)) {
    return toned("bad", `unusable: ${system.reason?.[slate] ?? "the input order stands"}`);
  }
  return moveElement(system === systems[0] ? 0 : systems[0].place[slate], findPlace(order, slate));
}

function orderCell(slate, { order, scores, system }, place, hits) {
  if (!order) return element("td", { class: "text" });
  const candidate = order[place], item = data.slates.candidates[slate][candidate];
  const step = candidate - place;
  const tone = step > 0 ? "good" : step < 0 ? "bad" : "";
  const was = system === systems[0] ? null : toned(tone, step ? `was ${candidate + 1}` : "stays");
  const score = numberAt(scores, place);
  return element(
    "td", { class: `text ${isRelevant(slate, candidate) ? "target" : ""}`, "data-item": item },
    titleElement(item, hits), element("small", {}, was, was && score ? " · " : null, score));
}

const isRelevant = (slate, candidate) => data.slates.labels[slate][candidate] > 0;

function candidatesTable(slate, shown, hits) {
  const { candidates, labels, scores, sources } = data.slates, own = shown.slice(1);
  const heads = ["label", "score", ...(sources.length ? ["found by"] : []), ...own.map(system => system.name)];
  const placesOf = own.map(system => orderOf(system, slate));
  const rows = candidates[slate].map((item, candidate) => element(
    "tr", { class: isRelevant(slate, candidate) ? "target" : "", "data-item": item },
    element("th", {}, String(candidate + 1)),
    element("td", { class: "text wide" }, titleElement(item, hits), categoriesElement(item),
      element("code", {}, `${data.items.id[item]} ${shortSid(item)}`)),
    element("td", {}, String(labels[slate][candidate] ?? "")),
    element("td", {}, numberAt(scores[slate], candidate)),
    sources.length ? element("td", { class: "text" }, sources[slate][candidate]) : null,
    placesOf.map(order => element("td", {}, order ? moveElement(candidate + 1, order.indexOf(candidate) + 1) : "–")),
  ));
  const head = element("tr", {}, element("th"), element("th", { class: "text" }, "item"),
    heads.map(name => element("th", {}, name)));
  return scrolling(element("table", {}, head, rows));
}

const shortSid = item => data.items.sid[item].replace(/<\|sid_(begin|end)\|>/g, "");

/** Levels from 0 to 9 as shades; `rank` is left out, it is the row's own place. */
function factsTable(slate) {
  const { factNames, facts, candidates } = data.slates;
  const kept = factNames.map((name, column) => [name, column]).filter(([name]) => name !== "rank");
  if (!kept.length || !facts[slate]) return null;
  const levels = facts[slate].split(";");
  const head = element("tr", {}, element("th"), element("th", { class: "text" }, "item"),
    kept.map(([name]) => element("th", { class: "fact" }, element("span", {}, name.replaceAll("_", " ")))));
  const rows = candidates[slate].map((item, candidate) => element(
    "tr", { class: isRelevant(slate, candidate) ? "target" : "", "data-item": item },
    element("th", {}, String(candidate + 1)), element("td", { class: "text" }, toned("line", titleOf(item))),
    kept.map(([, column]) => levelCell(numberAt(levels[candidate], column)))));
  return element("details", { id: "facts" }, element("summary", {}, "Facts, levels from 0 to 9"),
    scrolling(element("table", { class: "facts" }, head, rows)));
}

function levelCell(level) {
  const cell = element("td", { class: "level" }, level);
  cell.style.setProperty("--level", `${Math.min(9, Number(level) || 0) * 6}%`);
  return cell;
}

/** What systems and teachers wrote about the slate, with every cited item as a mark. */
function traceElements(slate, shown, traces) {
  const own = shown.filter(system => system.reasoning?.[slate])
    .map(system => [system.name, null, system.reasoning[slate]]);
  const about = ({ mode, teacher, accepted, reason }) =>
    `${mode}, ${teacher ?? "no teacher"}, ${accepted ? "accepted" : `not accepted: ${reason}`}`;
  const taught = traces.filter(trace => trace.reasoning)
    .map(trace => [`${trace.stage} ${trace.sample}`, about(trace), trace.reasoning]);
  return [...own, ...taught].map(([name, note, text]) => section(
    `Trace of ${name}`, note ? element("p", { class: "soft" }, note) : null,
    element("div", { class: "reasoning", dir: "auto" }, citedText(slate, text))));
}

/** The text with semantic IDs replaced by titles: of candidates, of the history, or of neither. */
function citedText(slate, text) {
  const parts = [], { candidates, history } = data.slates;
  let end = 0;
  for (const match of text.matchAll(SID)) {
    const item = data.items.bySid.get(match[0]), place = candidates[slate].indexOf(item);
    const kind = place >= 0 ? "candidate" : history[slate].includes(item) ? "history" : "stranger";
    const named = item === undefined ? match[0] : `${place >= 0 ? `${place + 1} ` : ""}${titleOf(item)}`;
    const told = { candidate: "candidate", history: "in the history", stranger: "not in this slate" }[kind];
    const look = { class: `cited ${kind}`, title: `${told}: ${match[0]}`, "data-item": item ?? null };
    parts.push(text.slice(end, match.index), element("span", look, named));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}
