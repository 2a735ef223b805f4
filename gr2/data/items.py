"""The items of the catalogue as text: cleaned, embedded, compared by category."""

import polars as pl

from gr2.data.text import clean


def clean_items(items: pl.DataFrame) -> pl.DataFrame:
    """Every text column and every category through `text.clean`."""
    texts = [name for name, dtype in items.schema.items() if dtype == pl.String and name != "item_id"]
    columns = {name: [None if text is None else clean(text) for text in items[name]] for name in texts}
    if "categories" in items.columns:
        columns["categories"] = [[clean(name) for name in path] for path in items["categories"].to_list()]
    return items.with_columns(pl.Series(name, values, items.schema[name]) for name, values in columns.items())


def join_categories(items: pl.DataFrame) -> list[str]:
    """`Books > Novels` for each item; empty where it has no categories."""
    if "categories" not in items.columns:
        return [""] * len(items)
    return [" > ".join(path) for path in items["categories"].to_list()]


def join_texts(items: pl.DataFrame) -> list[str]:
    """`Title. Category > Category. Description` for each item, without what is missing: what is embedded."""
    parts = [items["title"].to_list(), join_categories(items)]
    if "description" in items.columns:
        parts.append(items["description"].fill_null("").to_list())
    return [". ".join(part for part in texts if part) for texts in zip(*parts, strict=True)]
