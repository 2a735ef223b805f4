// One slate: who asked, the orders side by side, its candidates with their facts, and the traces.

const SID = /<\|sid_begin\|>(?:<s_[a-z]_\d+>)+<\|sid_end\|>/g;
const LATEST = 10;  // items of the history that are shown at once

/** `own`: its details. `neighbours`: the slates before and after in the list, for its links; undefined where it ends. */
function drawSlate(view, slate, own, hits, neighbours) {
  const shown = [systems[0], ...view.columns.map(systemNamed)];
  const main = document.getElementById("slate"), opened = document.getElementById("facts")?.open;
  main.replaceChildren(
    slateHead(view, slate, neighbours),
    section("History, latest first", historyList(slate, hits)),
    section("Orders side by side", ordersTable(slate, own, shown, hits)),
    ...traceElements(slate, own, shown),
    section("Candidates in the input order", candidatesTable(slate, own, shown, hits), factsDetails(slate, own)),
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

const isRelevant = (own, candidate) => own.labels[candidate] > 0;

/** A column for each system, and for each trace that has an order; a row for each place. */
function ordersTable(slate, own, shown, hits) {
  const ofSystem = system => ({ name: system.name, system, ...own.systems[system.at] });
  const ofTrace = ({ stage, sample, order }) => ({ name: `${stage} ${sample}`, order });
  const columns = [...shown.map(ofSystem), ...own.traces.filter(trace => trace.order).map(ofTrace)];
  const heads = columns.map(column =>
    element("th", { class: "text" }, column.name, element("br"), orderNote(slate, own, column)));
  const rows = data.slates.candidates[slate].map((_, place) => element("tr", {}, element("th", {}, String(place + 1)),
    columns.map(column => orderCell(slate, own, column, place, hits))));
  return scrolling(element("table", { class: "orders" }, element("tr", {}, element("th"), heads), rows));
}

function orderNote(slate, own, { order, system, reason }) {
  if (!order) return toned("soft", "not ranked");
  if (system && isUnusable(slate, system)) {
    return toned("bad", `unusable: ${reason ?? "the input order stands"}`);
  }
  const place = order.findIndex(candidate => isRelevant(own, candidate)) + 1;
  return moveElement(system === systems[0] ? 0 : systems[0].place[slate], place);
}

function orderCell(slate, own, { order, score, system }, place, hits) {
  if (!order) return element("td", { class: "text" });
  const candidate = order[place], item = data.slates.candidates[slate][candidate];
  const step = candidate - place;
  const tone = step > 0 ? "good" : step < 0 ? "bad" : "";
  const was = system === systems[0] ? null : toned(tone, step ? `was ${candidate + 1}` : "stays");
  const told = numberAt(score, place);
  return element(
    "td", { class: `text ${isRelevant(own, candidate) ? "target" : ""}`, "data-item": item },
    titleElement(item, hits), element("small", {}, was, was && told ? " · " : null, told));
}

function candidatesTable(slate, own, shown, hits) {
  const { labels, scores, sources } = own, others = shown.slice(1);
  const heads = ["label", "score", ...(sources ? ["found by"] : []), ...others.map(system => system.name)];
  const placesOf = others.map(system => own.systems[system.at].order);
  const rows = data.slates.candidates[slate].map((item, candidate) => element(
    "tr", { class: isRelevant(own, candidate) ? "target" : "", "data-item": item },
    element("th", {}, String(candidate + 1)),
    element("td", { class: "text wide" }, titleElement(item, hits), categoriesElement(item),
      element("code", {}, `${data.items.id[item]} ${shortSid(item)}`)),
    element("td", {}, String(labels[candidate] ?? "")),
    element("td", {}, numberAt(scores, candidate)),
    sources ? element("td", { class: "text" }, sources[candidate]) : null,
    placesOf.map(order => element("td", {}, order ? moveElement(candidate + 1, order.indexOf(candidate) + 1) : "–")),
  ));
  const head = element("tr", {}, element("th"), element("th", { class: "text" }, "item"),
    heads.map(name => element("th", {}, name)));
  return scrolling(element("table", {}, head, rows));
}

const shortSid = item => data.items.sid[item].replace(/<\|sid_(begin|end)\|>/g, "");

/** Levels from 0 to 9 as shades; `rank` is left out, it is the row's own place. The table is made when it is opened. */
function factsDetails(slate, own) {
  const kept = data.slates.factNames.map((name, column) => [name, column]).filter(([name]) => name !== "rank");
  if (!kept.length || !own.facts) return null;
  const made = element("details", { id: "facts" }, element("summary", {}, "Facts, levels from 0 to 9"));
  made.addEventListener("toggle", () => made.append(scrolling(factsTable(slate, own, kept))), { once: true });
  return made;
}

function factsTable(slate, own, kept) {
  const levels = own.facts.split(";");
  const head = element("tr", {}, element("th"), element("th", { class: "text" }, "item"),
    kept.map(([name]) => element("th", { class: "fact" }, element("span", {}, name.replaceAll("_", " ")))));
  const rows = data.slates.candidates[slate].map((item, candidate) => element(
    "tr", { class: isRelevant(own, candidate) ? "target" : "", "data-item": item },
    element("th", {}, String(candidate + 1)), element("td", { class: "text" }, toned("line", titleOf(item))),
    kept.map(([, column]) => levelCell(numberAt(levels[candidate], column)))));
  return element("table", { class: "facts" }, head, rows);
}

function levelCell(level) {
  const cell = element("td", { class: "level" }, level);
  cell.style.setProperty("--level", `${Math.min(9, Number(level) || 0) * 6}%`);
  return cell;
}

/** What systems and teachers wrote about the slate, with every cited item as a mark. */
function traceElements(slate, own, shown) {
  const written = shown.map(system => [system.name, null, own.systems[system.at].reasoning])
    .filter(([, , text]) => text);
  const about = ({ mode, teacher, accepted, reason }) =>
    `${mode}, ${teacher ?? "no teacher"}, ${accepted ? "accepted" : `not accepted: ${reason}`}`;
  const taught = own.traces.filter(trace => trace.reasoning)
    .map(trace => [`${trace.stage} ${trace.sample}`, about(trace), trace.reasoning]);
  return [...written, ...taught].map(([name, note, text]) => section(
    `Trace of ${name}`, note ? element("p", { class: "soft" }, note) : null,
    element("div", { class: "reasoning", dir: "auto" }, citedText(slate, text))));
}

/** The text with semantic IDs replaced by titles: of candidates, of the history, or of neither. */
function citedText(slate, text) {
  const parts = [], { candidates, history } = data.slates;
  data.items.bySid ??= new Map(data.items.sid.map((sid, item) => [sid, item]));
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
