"""The JSON schema that one slate's answer is decoded under."""

import copy

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import fill, shown_items, template_values


def answer_schema(prompt: Prompt, slate: Slate, catalogue: Catalogue) -> dict:
    """The prompt's schema, narrowed to this slate: each of its candidates once, and no item cited that is not shown.

    `uniqueItems` and `cites` are understood by gr2/samplers/grammar.py.
    """
    schema = copy.deepcopy(prompt.answer)
    if prompt.pattern:
        pattern = fill(prompt.pattern, template_values(prompt, slate, catalogue), prompt.name).strip()
        schema["properties"]["explanation"]["pattern"] = pattern
    elif prompt.has_trace:
        schema["properties"]["explanation"]["cites"] = [catalogue.sid[name] for name in shown_items(prompt, slate)]
    schema["properties"]["recommendations"] |= {
        "items": {"enum": [catalogue.sid[item_id] for item_id in slate.candidates]},
        "minItems": len(slate.candidates),
        "maxItems": len(slate.candidates),
        "uniqueItems": True,
    }
    return schema
