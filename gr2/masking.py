"""Secrets stay out of files and messages: passwords in URLs, and options whose names end in token or key.

They are masked the same way everywhere: a plan equals the plan of the run that it goes on from, and a run that differs
only in a secret makes the same output.
"""

import re

MASK = "***"
NO_SECRETS = ("bos_token", "eos_token", "pad_token", "unk_token")  # tokens of a vocabulary
IN_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")
NAMED = re.compile(
    r"""(?P<name>--[\w-]*(?:token|key)|[?&][\w-]*(?:token|key)|(?P<quote>["'])[\w-]*(?:token|key)(?P=quote))"""
    r"""(?P<between>\s*[:=]\s*|\s+)(?P<value>"[^"]*"|'[^']*'|[^\s"',&}]+)""",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether an option's value is one that nobody else should read."""
    name = name.lower().strip("-\"'?&").replace("-", "_")
    return name.endswith(("token", "key")) and name not in NO_SECRETS


def mask(text: str) -> str:
    """`http://me:password@host?key=x --hub_token y` -> `http://***@host?key=*** --hub_token ***`."""

    def hide(found: re.Match) -> str:
        plain_word = found["between"].isspace() and not found["name"].startswith("--")
        if plain_word or not is_secret(found["name"]) or found["value"].startswith("--"):
            return found[0]
        value = found["value"]
        quote = value[0] if value[0] in "\"'" else ""
        return found["name"] + found["between"] + quote + MASK + quote

    return NAMED.sub(hide, IN_URL.sub(MASK, text))


def mask_options(options: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        name: [MASK] * len(words) if is_secret(name) else [mask(word) for word in words]
        for name, words in options.items()
    }
