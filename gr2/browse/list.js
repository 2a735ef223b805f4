// The list of slates: only the rows in sight are elements, so its length costs nothing.

const ROW = 58;  // px, as in page.css
const SPARE = 8;  // rows drawn above and below those in sight

/** Draws the list, with its row `at` in sight; -1: wherever it is. */
function drawList(view, slates, at) {
  const list = document.getElementById("list"), rows = document.getElementById("rows");
  rows.style.height = `${slates.length * ROW}px`;
  if (at >= 0) showRow(list, at);
  list.onscroll = () => drawRows(view, slates, list, rows);
  drawRows(view, slates, list, rows);
}

function drawRows(view, slates, list, rows) {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const last = Math.min(slates.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  const shown = slates.slice(first, last).map((slate, at) => rowElement(view, slate, first + at));
  rows.replaceChildren(...shown);
}

function rowElement(view, slate, at) {
  const [system, against] = [systemNamed(view.system), systemNamed(view.against)];
  const id = data.slates.id[slate], candidates = data.slates.candidates[slate];
  const place = systems[0].place[slate], ranked = ranks(system, slate);
  const shown = place ? candidates[place - 1] : ranked ? candidates[system.first[slate]] : null;
  const note = isUnusable(slate, system) ? toned("bad", "unusable ") : null;
  const move = ranked ? moveElement(against.place[slate], system.place[slate]) : toned("soft", "not ranked");
  const address = addressOf({ ...view, slate: id }), isCurrent = id === view.slate && "true";
  return element(
    "a",
    { class: "row", href: address, style: `top: ${at * ROW}px`, "aria-current": isCurrent },
    element("span", { class: "who" }, element("b", {}, id), ` user ${data.slates.user[slate]}`),
    element("span", { class: "what" }, note, move),
    element("span", { class: "line", dir: "auto" }, shown === null ? "" : titleOf(shown)),
  );
}

function showRow(list, at) {
  const top = at * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
}
