"""Answers as vLLM's engine is asked for them: a text is one question, and so is a list of choices under its grammar.

Scores of the first choice, and the choices of a list too long for a grammar, are asked for branch by branch (see
gr2/samplers/vllm_branches.py). All log-probabilities are those of the engine's weights, float32 on a CPU.
"""

import functools
import json
from collections.abc import Generator

from llguidance.hf import from_tokenizer
from transformers import PreTrainedTokenizerBase
from vllm import SamplingParams
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from gr2.choices.drawing import Drawing
from gr2.choices.spelling import OPENING, spell
from gr2.choices.walk import ListWriter
from gr2.choices.write import order_by_scores
from gr2.samplers.base import Request, Sample
from gr2.samplers.grammar import (
    MOST_CHOICES,
    explanation_grammar,
    has_grammar,
    permutation_grammar,
    plain_json,
    sids_of,
)
from gr2.samplers.vllm_branches import Question, score_first, write_choices

# Yields questions, takes the engine's answers to them, in their order, and returns the sample.
Answering = Generator[list[Question], list[RequestOutput], Sample]


class OpenAnswer:
    """An answer while it is written; `sample`: what it has become."""

    def __init__(self, request: Request, answering: Answering):
        self.request, self.answering = request, answering
        self.outputs: list[RequestOutput | None] | None = None  # for each of the latest questions
        self.sample: Sample | None = None

    def go_on(self) -> list[Question]:
        """The next questions, once the latest are answered; none when the sample is there."""
        try:
            questions = self.answering.send(self.outputs)
        except StopIteration as end:
            self.sample = end.value
            return []
        self.outputs = [None] * len(questions)
        return questions

    def take(self, place: int, output: RequestOutput) -> bool:
        """The engine's answer to the question at `place` of the latest; whether it was the last one missing."""
        self.outputs[place] = output
        return all(self.outputs)


class AnswerWriter:
    """Asks for the answers of one model. logit_bias: keeps tokens that are no words from being sampled."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_ids: list[int], logit_bias: dict[int, float]):
        self.tokenizer, self.stop_ids, self.logit_bias = tokenizer, stop_ids, logit_bias
        self.vocabulary = tokenizer.get_added_vocab()
        words = from_tokenizer(tokenizer)
        self.text_of = functools.cache(lambda token: words.decode_str([token]))

    def open(self, request: Request, prompt: list[int], top_p: float, max_tokens: int) -> OpenAnswer:
        """The answer to a request whose messages are `prompt`."""
        return OpenAnswer(request, self._answer(request, prompt, top_p, max_tokens))

    def _answer(self, request: Request, prompt: list[int], top_p: float, max_tokens: int) -> Answering:
        under = None
        if request.schema and has_grammar(request.schema):
            if request.order == "first" or len(sids_of(request.schema)) > MOST_CHOICES:
                return (yield from self._answer_by_branches(request, prompt, top_p, max_tokens))
            under = StructuredOutputsParams(grammar=permutation_grammar(request.schema, self.vocabulary))
        elif request.schema:
            under = StructuredOutputsParams(json=plain_json(request.schema))
        (output,) = yield [self._ask_text(request, prompt, top_p, max_tokens, under)]
        completion = output.outputs[0]
        log_probs = None
        if request.order and completion.finish_reason == "stop":
            log_probs = self._add_up(completion, len(sids_of(request.schema)))
        text = completion.text.removesuffix(self.tokenizer.eos_token)
        return Sample(text, completion.finish_reason, len(prompt), len(completion.token_ids), log_probs)

    def _answer_by_branches(self, request: Request, prompt: list[int], top_p: float, max_tokens: int) -> Answering:
        """As gr2/samplers/structured_answers.py: `max_tokens` cuts an explanation off, a list is never cut."""
        sids = sids_of(request.schema)
        spelling = spell(self.tokenizer, sids)
        text, head = "{" + OPENING + '"', spelling.opening
        explains = len(request.schema["properties"]) > 1
        if explains:
            room = max(max_tokens - len(spelling.write(range(len(sids)))), 1)
            under = StructuredOutputsParams(grammar=explanation_grammar(request.schema, self.vocabulary))
            (output,) = yield [self._ask_text(request, prompt, top_p, room, under)]
            completion = output.outputs[0]
            if completion.finish_reason == "length":
                return Sample(completion.text, "length", len(prompt), len(completion.token_ids))
            text = completion.text.removesuffix(self.tokenizer.eos_token)
            head = [token for token in completion.token_ids if token not in self.stop_ids]
        writer = ListWriter(spelling, prompt + head, Drawing(request.temperature, top_p, request.seed))
        if request.order == "first":
            scores = yield from score_first(writer)
            order, log_probs = order_by_scores(scores)
            tokens = head if explains else []
        else:
            yield from write_choices(writer)
            order, log_probs, tokens = writer.order, writer.log_probs, head + spelling.write(writer.order)
        text += ", ".join(json.dumps(sids[index], ensure_ascii=False) for index in order)[1:] + "]}"
        return Sample(text, "stop", len(prompt), len(tokens), log_probs)

    def _ask_text(self, request: Request, prompt: list[int], top_p: float, max_tokens: int, under) -> Question:
        """under: the setting for structured output, or None."""
        settings = SamplingParams(
            temperature=request.temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=request.seed,
            stop_token_ids=self.stop_ids,
            skip_special_tokens=False,  # semantic IDs survive where a tokenizer holds them as special tokens
            structured_outputs=under,
            output_kind=RequestOutputKind.FINAL_ONLY,
            logit_bias=self.logit_bias or None,
            logprobs=0 if request.order else None,  # of the sampled token alone
        )
        return Question(prompt, settings)

    def _add_up(self, completion, count: int) -> list[float]:
        """The log-probability of each of the list's `count` items: of the tokens that start in it.

        The engine takes them at temperature 1, among the tokens that the grammar admits: forced tokens have 0. Where a
        tokenizer has several ways to write forced text, which one is written counts as a choice too.
        """
        text, found = "", [0.0] * count
        for token, log_probs in zip(completion.token_ids, completion.logprobs, strict=True):
            _, opened, written = text.partition(OPENING)
            if opened:
                found[min(written.count('"') // 2, count - 1)] += log_probs[token].logprob
            text += self.text_of(token)
        return found
