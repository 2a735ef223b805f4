"""Choice decoding against brute force: every permutation read in full."""

import math
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
import torch
from scipy.stats import chi2

from gr2.choices.drawing import Drawing
from gr2.choices.walk import ListWriter
from gr2.choices.write import begin, score_first, write_lists
from tests.choices.brute_force import FIVE, IDS, TEXT, VOCABULARY, read_all, spelling_of, tiny_model, write, write_all

MODELS = {"llama": tiny_model("llama"), "qwen3": tiny_model("qwen3")}
EVERYTHING = 40.0  # a temperature at which every order is drawn
GREEDY = Drawing()


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


def first_scores(model, spelling, text=TEXT) -> list[float]:
    writers = [ListWriter(spelling, text, GREEDY)]
    with torch.inference_mode():
        (scores,) = score_first(begin(model, writers), writers)
    return scores


@pytest.mark.parametrize("ids", [*IDS.values(), FIVE], ids=[*IDS, "five"])
def test_a_list_has_the_probability_that_brute_force_gives_it(model, ids):
    spelling = spelling_of(ids)
    table = read_all(model, spelling)
    expected = table.log_probs()
    assert sum(map(math.exp, expected.values())) == pytest.approx(1, abs=1e-6)
    assert max(expected.values()) > math.log(3 / len(expected))  # and the distribution is not flat
    drawings = [Drawing(EVERYTHING, seed=seed) for seed in range(480)]
    written = {tuple(writer.order): writer for writer in write(model, spelling, drawings, groups=True)}
    assert written.keys() == expected.keys() if ids is not FIVE else len(written) > 60
    for order, writer in written.items():
        assert sum(writer.log_probs) == pytest.approx(expected[order], abs=1e-5)
        assert writer.log_probs == pytest.approx(table.candidates(order), abs=1e-5)
        assert [replace(choice, among=sorted(choice.among)) for choice in writer.choices] == table.choices(order)


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_likeliest_candidate(ids, seed):
    spelling, model = spelling_of(IDS[ids]), tiny_model("llama", seed=seed)
    (writer,) = write(model, spelling, [GREEDY])
    assert tuple(writer.order) == read_all(model, spelling).greedy()


@pytest.mark.parametrize("ids", ["levels", "flat"])
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.3, 0.8)])
def test_lists_are_drawn_as_often_as_they_are_probable(ids, temperature, top_p):
    spelling, model, samples = spelling_of(IDS[ids]), MODELS["llama"], 2000
    probable = read_all(model, spelling).log_probs(temperature, top_p)
    drawings = [Drawing(temperature, top_p, seed) for seed in range(samples)]
    counts = Counter(tuple(writer.order) for writer in write(model, spelling, drawings, groups=True))
    expected = {order: samples * math.exp(value) for order, value in probable.items()}
    assert all(expected[order] > 0 for order in counts)
    often = {order for order, count in expected.items() if count >= 5}
    cells = [(counts[order], expected[order]) for order in often]
    rest = samples - sum(count for count, _ in cells), samples - sum(count for _, count in cells)
    cells += [rest] if rest[1] >= 5 else []
    assert len(cells) > 2
    statistic = sum((count - mean) ** 2 / mean for count, mean in cells)
    assert chi2.sf(statistic, len(cells) - 1) > 0.001


@pytest.mark.parametrize("ids", [*IDS.values(), FIVE], ids=[*IDS, "five"])
def test_first_choice_scores_are_those_of_each_id_by_itself(model, ids):
    spelling = spelling_of(ids)
    scores = first_scores(model, spelling)
    assert sum(map(math.exp, scores)) == pytest.approx(1, abs=1e-6)
    assert scores == pytest.approx(read_all(model, spelling).first(), abs=1e-5)
    texts = [item + spelling.between for item in ids]
    for tokens, score in zip(texts, scores, strict=True):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([TEXT + tokens])).logits[0, len(TEXT) - 1 : -1].double()
        total = 0.0
        for place, token in enumerate(tokens):
            among = sorted({text[place] for text in texts if text[:place] == tokens[:place]})
            total += float(logits[place, among].log_softmax(0)[among.index(token)])
        assert score == pytest.approx(total, abs=1e-4)


def mixed_writers(drawings: list[Drawing]) -> list[ListWriter]:
    """Slates of one to five candidates, prompts of 3 to 30 tokens; some share a prompt."""
    random = Random(0)
    prompts = [[1, *(random.randrange(44, VOCABULARY) for _ in range(length)), 8, 5] for length in (30, 0, 7, 7, 16)]
    prompts += prompts[:3]
    slates = [IDS["levels"], FIVE, IDS["flat"], IDS["start"][:2], IDS["pairs"], IDS["pairs"], IDS["flat"][:1], FIVE[:2]]
    return [
        ListWriter(spelling_of(slate), prompt, drawing)
        for slate, prompt, drawing in zip(slates, prompts, drawings, strict=True)
    ]


def expect_same(writers: list[ListWriter], others: list[ListWriter]) -> None:
    for writer, other in zip(writers, others, strict=True):
        assert (writer.order, writer.choices) == (other.order, other.choices)
        assert writer.log_probs == pytest.approx(other.log_probs, abs=1e-5)


@pytest.mark.parametrize("drawing", [GREEDY, Drawing(1.5, 0.9)], ids=["greedy", "drawn"])
def test_an_answer_does_not_depend_on_its_batch(model, drawing):
    drawings = [replace(drawing, seed=seed) for seed in range(8)]
    alone = [write_all(model, [writer])[0] for writer in mixed_writers(drawings)]
    for order in (range(8), range(7, -1, -1), (5, 1, 6), (2, 2, 2, 0)):
        for groups in (False, True):
            batch = [mixed_writers(drawings)[index] for index in order]
            expect_same(write_all(model, batch, groups), [alone[index] for index in order])


def test_a_row_is_drawn_by_its_own_seed(model):
    spelling, seeds = spelling_of(FIVE), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    writers = write(model, spelling, [Drawing(1.0, seed=seed) for seed in seeds], groups=True)
    orders = dict(zip(seeds, [writer.order for writer in writers], strict=True))
    assert [writer.order for writer in writers] == [orders[seed] for seed in seeds]
    assert len({tuple(order) for order in orders.values()}) > 2


def test_scores_do_not_depend_on_the_batch(model):
    alone = []
    for writer in mixed_writers([GREEDY] * 8):
        with torch.inference_mode():
            alone += score_first(begin(model, [writer]), [writer])
    for groups in (False, True):
        writers = mixed_writers([GREEDY] * 8)
        with torch.inference_mode():
            reading = begin(model, writers, groups)
            together = score_first(reading, [None, *writers[1:]])
        assert together[0] is None and together[6] == [0.0]
        for one, other in zip(together[1:], alone[1:], strict=True):
            assert one == pytest.approx(other, abs=1e-5)


def test_rows_without_a_writer_are_left_alone(model):
    writers = mixed_writers([GREEDY] * 8)
    alone = write_all(model, mixed_writers([GREEDY] * 8)[4:5])
    with torch.inference_mode():
        write_lists(begin(model, writers), [None] * 4 + writers[4:5] + [None] * 3)
    expect_same(writers[4:5], alone)
    assert not writers[0].order


@pytest.fixture
def passes(model):
    """Of each forward pass: the tokens that it read, and the places that it computed logits for."""
    seen, hooks = [], []

    def note(module, args, kwargs):
        seen.append([kwargs["input_ids"].numel(), None])

    def count(module, args, logits):
        seen[-1][1] = logits.numel() // VOCABULARY

    hooks.append(model.register_forward_pre_hook(note, with_kwargs=True))
    hooks.append(model.lm_head.register_forward_hook(count))
    yield seen
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("ids", [*IDS.values(), FIVE], ids=[*IDS, "five"])
def test_a_list_takes_a_pass_for_each_candidate_and_logits_where_it_branches(model, passes, ids):
    write(model, spelling_of(ids), [GREEDY])
    assert len(passes) == len(ids)
    writer = ListWriter(spelling_of(ids), TEXT, GREEDY)
    with torch.inference_mode():
        reading = begin(model, [writer])
        while not writer.done:
            plan = writer.plan()
            log_probs = reading.read([plan])
            assert passes[-1] == [len(plan.tokens), len(plan.branches)]
            reading.keep([(0, token) for token in writer.choose(log_probs[0])])


def test_groups_take_one_pass_more(model, passes):
    spelling = spelling_of(FIVE)
    texts = [[1, *range(50, 50 + length), 8, 5] for length in (9, 4)]
    writers = [ListWriter(spelling, text, Drawing(1.0, seed=seed)) for text in texts for seed in range(6)]
    write_all(model, writers, groups=True)
    assert len(passes) == len(FIVE) + 1
    passes.clear()
    write_all(model, [ListWriter(spelling, text, GREEDY) for text in texts])
    assert len(passes) == len(FIVE)


def test_first_choice_scores_take_two_passes(model, passes):
    first_scores(model, spelling_of(FIVE))
    assert len(passes) == 2


@pytest.mark.parametrize("candidates", [1, 2, 64, 65, 200])
def test_slates_of_any_size(model, passes, candidates):
    ids = [[3, 10 + index // 36, 20 + index // 6 % 6, 30 + index % 6, 4] for index in range(candidates)]
    Random(candidates).shuffle(ids)
    spelling = spelling_of(ids)
    (writer,) = write(model, spelling, [Drawing(1.0, seed=1)])
    assert sorted(writer.order) == list(range(candidates))
    assert len(passes) == candidates
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([TEXT + spelling.write(writer.order)])).logits[0, len(TEXT) - 1 :]
    expected = [
        float(logits[choice.place, choice.among].double().log_softmax(0)[choice.among.index(choice.token)])
        for choice in writer.choices
    ]
    assert sum(writer.log_probs) == pytest.approx(sum(expected), abs=1e-4)
    scores = first_scores(model, spelling)
    assert len(scores) == candidates and sum(map(math.exp, scores)) == pytest.approx(1, abs=1e-6)


def test_a_process_that_is_done_reads_on_for_the_others(model, passes):
    """Two passes more than its lists take, since another process is not done; nothing changes."""
    writers = [ListWriter(spelling_of(FIVE), TEXT, GREEDY), None]
    answers = iter([True] * (len(FIVE) + 1) + [False])
    with torch.inference_mode():
        write_lists(
            begin(model, [writers[0], ListWriter(spelling_of(FIVE), TEXT, GREEDY)]), writers, lambda _: next(answers)
        )
    assert writers[0].order == write(model, spelling_of(FIVE), [GREEDY])[0].order
    assert len(passes) == len(FIVE) + 2 + len(FIVE)
