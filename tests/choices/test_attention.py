import torch
from torch.testing import assert_close
from transformers import DynamicCache

from gr2.choices.attention import RoomyCache, attend_grouped, grouped_attention
from gr2.language_model.scratch import small_model, train_tokenizer


def test_a_roomy_cache_holds_what_a_plain_one_does():
    generator = torch.Generator().manual_seed(0)
    roomy, plain = RoomyCache(), DynamicCache()
    changes = [
        lambda cache: cache.batch_repeat_interleave(3),
        lambda cache: cache.batch_select_indices(torch.tensor([2, 0, 0])),
        lambda cache: cache.batch_select_indices(torch.tensor([1, 2, 0])),  # as many rows as before
    ]
    rows = 1
    for width in (5, 1, 2, 9, 1, 1, 30, 1):
        for layer in range(2):
            new = torch.rand(2, rows, 4, width, 8, generator=generator)
            for kept, expected in zip(roomy.update(*new, layer), plain.update(*new, layer), strict=True):
                assert torch.equal(kept, expected)
        if changes:
            change = changes.pop(0)
            change(roomy), change(plain)
            rows = 3
    assert roomy.get_seq_length() == 50


def test_a_roomy_cache_does_not_move_what_fits():
    cache, new = RoomyCache(), torch.rand(2, 1, 1, 10, 4)
    before, _ = cache.update(*new, 0)
    after, _ = cache.update(*new[:, :, :, :5], 0)
    assert after.data_ptr() == before.data_ptr()
    assert after.shape[2] == 15


def test_grouped_attention_is_that_of_repeated_keys():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 6, 5, 8, generator=generator)
    key, value = torch.randn(2, 3, 2, 11, 8, generator=generator)
    mask = torch.rand(3, 1, 5, 11, generator=generator) < 0.6
    mask[..., 0] = True
    found, _ = attend_grouped(None, query, key, value, mask, scaling=0.3)
    repeated = [tensor.repeat_interleave(3, 1) for tensor in (key, value)]
    scores = (0.3 * query @ repeated[0].transpose(2, 3)).masked_fill(~mask, -torch.inf)
    assert_close(found, (scores.softmax(-1) @ repeated[1]).transpose(1, 2))


def test_a_model_attends_in_groups_within_the_context_alone():
    tokenizer = train_tokenizer(["one text"], 300)
    model = small_model(tokenizer, hidden_size=16, layers=1, heads=4, context=64, seed=0).eval()
    ids, seen = torch.arange(12).view(1, -1), torch.ones(1, 1, 12, 12, dtype=torch.bool).tril()
    expected = model(input_ids=ids, attention_mask=seen).logits
    with grouped_attention(model):
        assert model.config._attn_implementation == "grouped_sdpa"
        found = model(input_ids=ids, attention_mask=seen).logits
    assert model.config._attn_implementation == "sdpa"
    assert_close(found, expected)
