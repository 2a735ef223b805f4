// Elements of the page. All text of items and answers becomes text nodes here: nothing is ever read as markup.

/** <name ...attributes>children</name>; children are elements or texts, and null ones are left out. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter(child => child !== null));
  return made;
}

/** A text in a tone: soft, good, bad or none. */
const toned = (tone, text) => element("span", { class: tone }, text);

const titleOf = item => data.items.title[item] || data.items.id[item];

/** An item's title, two lines of it at most; marked where the search found it. */
function titleElement(item, hits, ...after) {
  const found = hits?.[item] ? "title hit" : "title";
  return element("span", { class: found, title: titleOf(item), dir: "auto" }, titleOf(item), ...after);
}

/** `3 → 1 ▲2`, green or red; a dot where nothing moved. */
function moveElement(from, to) {
  if (!from || !to) return toned("move soft", to ? String(to) : "–");
  const [tone, sign] = from > to ? ["good", "▲"] : from < to ? ["bad", "▼"] : ["soft", "·"];
  return toned(`move ${tone}`, `${from} → ${to} ${sign}${Math.abs(from - to) || ""}`);
}

/** An item's categories, from the widest to the narrowest. */
const categoriesElement = item => element("small", {}, data.items.categories[item].join(" › "));

/** What stands at a place of `0.5 -0.25`; nothing where there is no such text. */
const numberAt = (texts, place) => (texts?.split(" ")[place] ?? "").replaceAll("-", "−");

const scrolling = table => element("div", { class: "scroll", tabindex: "0" }, table);
