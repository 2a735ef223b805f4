"""The requests of each interface, by the fields of its public reference. Fields that are not listed are ignored.

Cohere: docs.cohere.com/reference/rerank (v2) and rerank-1 (v1). Jina: api.jina.ai/redoc, /v1/rerank. TEI:
huggingface.github.io/text-embeddings-inference, /rerank.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on

Id = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # ids are text
Finite = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]  # as in slates.parquet
Count = Annotated[int, Field(ge=1)]


CHECKS = ConfigDict(strict=True, extra="ignore")


class Form(BaseModel):
    model_config = CHECKS


class Source(TypedDict):
    """What one retriever gave a candidate; a dict, since slates hold it so and requests have many."""

    __pydantic_config__ = CHECKS

    rank: Count
    score: Finite


class Candidate(Form):
    id: Id | None = None
    text: str | None = None
    score: Finite | None = None
    features: dict[str, Finite] | None = None
    facts: dict[str, int] | None = None
    sources: dict[str, Source | None] | None = None

    @model_validator(mode="after")
    def check_name(self) -> Self:
        if self.id is None and self.text is None:
            raise ValueError("expected an id or a text")
        return self


class SlateRequest(Form):
    """`/v1/slates`, ours."""

    user: Id | None = None
    history: Annotated[list[Id], Field(fail_fast=True)] | None = None
    candidates: Annotated[list[Id | Candidate], Field(min_length=1, fail_fast=True)]
    top_n: Count | None = None
    with_trace: bool = False

    @model_validator(mode="after")
    def check_user(self) -> Self:
        if (self.user is None) == (self.history is None):
            raise ValueError("expected either a user or a history")
        return self


class CohereRequest(Form):
    """`/v2/rerank`. `model`, `max_tokens_per_doc`, `priority` and `relevant_spans` change nothing here."""

    query: str
    documents: Annotated[list[str], Field(min_length=1, fail_fast=True)]
    top_n: Count | None = None


class RerankRequest(Form):
    """`/v1/rerank`, of Cohere and of Jina, which puts documents into its answer unless it is told not to."""

    model: str | None = None
    query: str
    documents: Annotated[list[str | Candidate], Field(min_length=1, fail_fast=True)]
    top_n: Count | None = None
    return_documents: bool | None = None


class TeiRequest(Form):
    """`/rerank`. `truncate` and `truncation_direction` change nothing: texts are only matched to items, so none needs
    to be cut.
    """

    query: str
    texts: Annotated[list[str], Field(min_length=1, fail_fast=True)]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["Left", "Right", "left", "right"] = "Right"


def explain(error: ValidationError) -> str:
    """The first fault as a sentence that repeats nothing of the request but a field's name.

    Where a value may be of two kinds there is a fault for each: the one that looks deepest says most.
    """
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    about = [fault for fault in faults if fault["loc"][:2] == faults[0]["loc"][:2]]
    fault = max(reversed(about), key=lambda fault: len(fault["loc"]))
    if fault["type"] == "json_invalid":
        return "The body: expected JSON in UTF-8."
    message = fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected").split(". ")[0]
    message = {"Field required": "expected a value, found none"}.get(message, message)
    if not message.startswith("expected"):
        message = f"expected other values: {message[:1].lower()}{message[1:]}"
    return f"{name_place(fault['loc'])}: {message}."


def name_place(location: Iterable[Any]) -> str:
    """`("documents", 3, "str")` -> `documents[3]`: fields of ours and places in lists, no keys of the request's."""
    known = {name for form in FORMS for name in form.__annotations__}
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        elif part in known:
            name += f".{part}" if name else part
    return name or "The body"


FORMS = (SlateRequest, CohereRequest, RerankRequest, TeiRequest, Candidate, Source)
