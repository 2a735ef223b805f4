"""Two shops whose exports have the dirt of real ones; every row that is wrong is counted as it is made."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

START = 1_704_067_200  # 2024-01-01
DAYS = 2 * 86_400  # between two events of a user
ITEMS, USERS, EVENTS = 40, 60, 20
WORDS = ("Puzzle", "Lamp", "Kettle", "Scarf", "Drill")


@dataclass
class Shop:
    """columns, options: words of `gr2 prepare`. wrong: (file, kind) -> lines that have this problem, in order."""

    items: Path
    events: Path
    columns: list[str]
    options: list[str] = field(default_factory=list)
    wrong: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)

    def mark(self, file: Path, kind: str, line: int) -> None:
        self.wrong.setdefault((file.name, kind), []).append(line)


def draw_events(rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """User, item and second of clean events: every user takes 20 of the 38 items that have events, in order."""
    rows = []
    for user in range(USERS):
        items = rng.permutation(ITEMS - 2)[:EVENTS]
        rows += [(user, int(item), START + DAYS * step + user) for step, item in enumerate(items)]
    return [rows[row] for row in rng.permutation(len(rows))]


def newcomers_shop(folder: Path) -> Shop:
    """CSV. Items: UTF-8 with a byte order mark, ids above 2^53, HTML, emoji, empty titles, an id twice, a row with an
    unquoted comma. Events: latin-1, semicolons, milliseconds, unknown items, repeated rows, dates, no user.
    """
    rng = np.random.default_rng(0)
    columns = ["item_id=sku", "title=name", "description=about", "categories=department"]
    columns += ["user_id=customer", "timestamp=bought_at"]
    shop = Shop(folder / "items.csv", folder / "events.csv", columns)
    ids = [str(900_719_925_474_099_400 + item) for item in range(ITEMS)]
    lines = ["sku,name,about,department,price"]
    for item, sku in enumerate(ids):
        title = f"<b>{WORDS[item % 5]}</b> &amp; Co 🧩 {item}" if item % 10 else ""
        lines.append(f'{sku},"{title}","<p>7"" wide</p><script>x()</script>",Home|{WORDS[item % 5]},{item}.50')
    shop.counts["untitled"] = ITEMS // 10
    lines.append(f"{ids[3]},Another lamp,,Home,1")
    shop.mark(shop.items, "unique item ids", len(lines))
    lines.append("77,Lamp, large,,Home,1")
    shop.mark(shop.items, "5 fields, as in the header", len(lines))
    shop.items.write_bytes(b"\xef\xbb\xbf" + ("\r\n".join(lines) + "\r\n").encode())
    lines = ["customer;sku;bought_at;store"]
    for at, (user, item, second) in enumerate(draw_events(rng)):
        row = [f"zoé{user}", ids[item], str(second * 1000 + at % 1000), "Köln"]
        if at % 100 == 7:
            row[1] = "12345"
            shop.mark(shop.events, "an item of the items file", len(lines) + 1)
        if at % 100 == 8:
            row[2] = "31/01/2024"
            shop.mark(shop.events, "milliseconds since 1970, as the other times are", len(lines) + 1)
        if at % 300 == 9:
            row[0] = ""
            shop.mark(shop.events, "an id", len(lines) + 1)
        lines.append(";".join(row))
        if at % 50 == 0:
            lines.append(lines[-1])
            shop.counts["repeated"] += 1
    shop.events.write_bytes(("\n".join(lines) + "\n").encode("latin-1"))
    return shop


def second_shop(folder: Path) -> Shop:
    """Items: JSON lines with ids as numbers and as text, a missing title, a line that is cut, blank lines. Events: TSV
    in UTF-16 with day/month/year, types, ratings of which some are text, quotes that are never closed, users of one
    event, and dates of the far future.
    """
    rng = np.random.default_rng(1)
    options = ["--event_types", "cart", "buy"]
    shop = Shop(folder / "items.jsonl", folder / "events.tsv", ["event=action", "timestamp=when"], options)
    lines = []
    for item in range(ITEMS):
        title = None if item == 5 else f"{WORDS[item % 5]} <i>no.</i> {item}"
        own = {"item_id": item if item % 2 else str(item), "title": title, "categories": ["Home", WORDS[item % 5]]}
        lines.append(json.dumps(own))
        if item % 13 == 0:
            lines.append("")
    shop.counts["untitled"] = 1
    lines.append(json.dumps({"item_id": "cut", "title": "A lamp that"})[:-2])
    shop.mark(shop.items, "a JSON object", len(lines))
    shop.items.write_text("\n".join(lines) + "\n")
    lines = ["user_id\titem_id\twhen\taction\trating"]
    rows = draw_events(rng) + [(USERS + few, few, START + few) for few in range(4)]
    shop.counts["small users"] = 4
    for at, (user, item, second) in enumerate(rows):
        when = datetime.fromtimestamp(second, UTC)
        row = [f"u{user}", str(item), when.strftime("%d/%m/%Y %H:%M:%S"), "buy" if at % 3 else "cart", "4.5"]
        if at % 4 == 0:
            lines.append("\t".join([*row[:3], "view", "bad"]))  # of no interest, so its rating is not either
            shop.counts["other types"] += 1
        if at % 200 == 11:
            row[4] = "n/a"
            shop.mark(shop.events, "a number", len(lines) + 1)
        if at % 200 in (11, 12):  # the first of them has two problems
            row[2] = when.strftime("%d/%m/2199 %H:%M:%S")
            shop.mark(shop.events, "a time between 1840 and 2100", len(lines) + 1)
        if at % 400 == 13:
            row[1] = '"' + row[1]
            shop.mark(shop.events, "quotes that are closed", len(lines) + 1)
        lines.append("\t".join(row))
    shop.events.write_bytes(("\r\n".join(lines) + "\r\n").encode("utf-16"))
    return shop
