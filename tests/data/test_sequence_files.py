"""Series, tokens and texts in files: what they become, and which recipes take them."""

from __future__ import annotations

import numpy as np
import pytest

from tfp_vae import InputError, data
from tfp_vae.data.texts import END, sentence

BOTH = ("series", "tokens")
RNG = np.random.default_rng(0)
TOKENS = np.where(np.arange(6) < RNG.integers(1, 7, [20, 1]), RNG.integers(1, 5, [20, 6]), 0)
SERIES = RNG.normal(size=[20, 6, 2])
LINES = [f"The {who} {what}." for who in ("Cat", "dog", "old   man") for what in ("sees", "ran")]


@pytest.mark.parametrize(
    ("array", "takes", "kind", "shape"),
    [
        (TOKENS, BOTH, "tokens", (None,)),
        (TOKENS, (), "counts", (6,)),
        (SERIES, ("series",), "series", (6, 2)),
        (SERIES * (TOKENS != 0)[..., None], BOTH, "series", (None, 2)),
        (SERIES[..., 0], ("series",), "series", (6, 1)),
        (SERIES[..., 0], (), "reals", (6,)),
        ((abs(SERIES) / 9).clip(0, 1), (), "images", (6, 2, 1)),
        (TOKENS[..., None].astype("uint8"), BOTH, "images", (6, 1, 1)),
    ],
)
def test_a_recipe_says_what_an_array_may_hold(tmp_path, array, takes, kind, shape):
    np.save(tmp_path / "x.npy", array)
    found = data.load(tmp_path / "x.npy", takes=takes)
    assert (found.kind, found.shape) == (kind, shape)
    assert found.num_tokens == (5 if kind == "tokens" else None)
    if kind in BOTH:
        rows = np.concatenate([found.train, found.test])
        assert rows.dtype == (np.int32 if kind == "tokens" else np.float32)
        expected = np.reshape(array, rows.shape).astype(rows.dtype)
        assert sorted(map(bytes, rows)) == sorted(map(bytes, expected))
        cut = data.load(tmp_path / "x.npy", takes=takes, length=4)
        np.testing.assert_array_equal(cut.test, found.test[:, :4])
        np.testing.assert_array_equal(cut.train, found.train[:, :4])


def test_a_text_is_its_lines_as_words_that_training_knows(tmp_path):
    (tmp_path / "x.txt").write_text("\n\n".join(LINES * 3))
    found = data.load(str(tmp_path / "x.txt"), takes=BOTH)
    assert found.vocabulary[:2] == ("", "[UNK]")
    assert len(found.vocabulary) == found.num_tokens
    assert (len(found.train), len(found.test)) == (16, 2)
    lines = sorted(" ".join(line.lower().split()) for line in LINES * 3)
    tokens = np.concatenate([found.train, found.test])
    assert sorted(sentence(each, found.vocabulary) for each in tokens) == lines
    last = np.take_along_axis(tokens, (tokens != 0).sum(1)[:, None] - 1, 1)
    assert {found.vocabulary[each] for each in last.ravel()} == {END}
    again = data.load(str(tmp_path / "x.txt"), takes=BOTH)
    assert again.vocabulary == found.vocabulary
    np.testing.assert_array_equal(again.train, found.train)


def test_a_word_that_only_the_test_set_has_is_unknown(tmp_path):
    words = [f"word{number}" for number in range(40)]
    (tmp_path / "x.txt").write_text("\n".join(words))
    found = data.load(str(tmp_path / "x.txt"), takes=BOTH)
    assert {sentence(each, found.vocabulary) for each in found.test} == {"[UNK]"}
    assert set(found.vocabulary) == {
        "", "[UNK]", END, *(sentence(each, found.vocabulary) for each in found.train)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "takes", "more", "words"),
    [
        ("x.txt", (), {}, "Expected a recipe of tokens, such as sentence_vae"),
        ("one.txt", BOTH, {}, "Expected at least two lines"),
        ("bytes.txt", BOTH, {}, "no text in UTF-8"),
        ("negative.npy", BOTH, {}, "Expected tokens from 0"),
        ("digits", BOTH, {"length": 3}, "whose steps a length is of.*images"),
    ],
)
def test_what_is_no_sequence_is_refused(tmp_path, monkeypatch, name, takes, more, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("\n".join(LINES))
    (tmp_path / "one.txt").write_text(LINES[0])
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfd")
    np.save("negative.npy", TOKENS - 1)
    with pytest.raises(InputError, match=words):
        data.load(name, takes=takes, **more)
