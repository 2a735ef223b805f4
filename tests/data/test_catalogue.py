from gr2.data.catalogue import read_catalogue
from gr2.language_model.scratch import train_tokenizer


def test_item_text_holds_none_of_a_tokenizers_added_tokens(world):
    """Tokens of any look: the genre's name and the word before each film's number."""
    catalogue = read_catalogue(world.items, world.semantic_ids)
    tokenizer = train_tokenizer(["Comedy number 1"], 300)
    tokenizer.add_tokens(["Comedy", "number"])
    words = tokenizer.get_added_vocab().values()
    film = catalogue.item_ids[0]
    assert set(words) & set(tokenizer.encode(catalogue.title[film]))
    safe = catalogue.safe_for(tokenizer)
    for texts in (safe.title, safe.category, safe.description):
        assert not any(set(words) & set(tokenizer.encode(text)) for text in texts.values())
    assert safe.sid == catalogue.sid and safe.title[film] == "C·omedy n·umber 0"


def test_text_without_such_tokens_stays_as_it_is(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    safe = catalogue.safe_for(train_tokenizer(["Comedy number 1"], 300))
    assert (safe.title, safe.category) == (catalogue.title, catalogue.category)


def test_titles_are_cut_to_tokens():
    from gr2.data.catalogue import cut
    from gr2.language_model.scratch import train_tokenizer

    tokenizer = train_tokenizer(["The Long Siege of Winter"], 300)
    for title in ("The Long Siege of Winter", "Œuvre d’été", ""):
        tokens = tokenizer(title, add_special_tokens=False)["input_ids"]
        for count in range(1, len(tokens) + 2):
            short = cut(title, tokenizer, count)
            assert title.startswith(short)
            found = len(tokenizer(short, add_special_tokens=False)["input_ids"])
            assert found <= count + 3, "a letter may be of four tokens"
        assert cut(title, tokenizer, len(tokens) or 1) == title
