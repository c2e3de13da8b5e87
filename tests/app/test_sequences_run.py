"""Series, tokens and texts by the command, from the file to what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import SMALL, main, results

from tfp_vae.app import runs
from tfp_vae.data.texts import END

FAST = [*SMALL, "--epochs", 2]
SENTENCES = ["the cat sees the dog", "a dog runs", "The man runs  again", "a man sees a cat"]


@pytest.fixture(autouse=True)
def _files(here):
    rng = np.random.default_rng(0)
    there = np.arange(6) < rng.integers(2, 7, [60, 1])
    np.save("tokens.npy", np.where(there, rng.integers(1, 5, [60, 6]), 0))
    series = 300 + 20 * rng.normal(size=[60, 6, 2])
    np.save("series.npy", series)
    padded = series * there[..., None]
    labels = np.arange(60) % 3
    np.savez("padded.npz", x_train=padded[:40], x_test=padded[40:], y_train=labels[:40],
             y_test=labels[40:])  # fmt: skip
    Path("some.txt").write_text("\n".join(rng.choice(SENTENCES, 60)))


def trained(*options) -> runs.Run:
    assert main(["train", *FAST, *options, "--out", "run"]) == 0
    return runs.Run.open("run")


@pytest.mark.parametrize(
    ("recipe", "name", "drawn"),
    [
        ("sentence_vae", "some.txt", (5, 6)),
        pytest.param("sentence_vae", "tokens.npy", (5, 6), marks=pytest.mark.again),
        pytest.param("sentence_vae", "padded.npz", (5, 6, 2), marks=pytest.mark.again),
        pytest.param("recurrent_vae", "padded.npz", (5, 6, 2), marks=pytest.mark.again),
        pytest.param("recurrent_vae", "series.npy", (5, 6, 2), marks=pytest.mark.again),
        pytest.param("vrnn", "padded.npz", (5, 6, 2), marks=pytest.mark.again),
        pytest.param("vrnn", "series.npy", (5, 6, 2), marks=pytest.mark.again),
    ],
)
def test_sequences_are_learnt_reported_drawn_exported_and_gone_on_with(
    recipe, name, drawn, recwarn
):
    run = trained("--recipe", recipe, "--data", name)
    assert "real_and_drawn" in {path.stem for path in run.figures.iterdir()}
    assert np.isfinite(results(run)["log_likelihood"])
    assert ("baseline" in results(run)) == (name == "series.npy")
    assert main(["sample", "run", "--num", 5, "--out", "x.npy"]) == 0
    found = np.load("x.npy")
    assert found.shape == drawn
    is_tokens = found.ndim == 2
    assert (found.dtype.kind == "i") == is_tokens
    out = "x.txt" if is_tokens else "x.png"
    assert main(["sample", "run", "--num", 5, "--out", out]) == 0
    if is_tokens:
        assert len(Path("x.txt").read_text().splitlines()) == 5
    assert main(["sample", "run", "--out", "x.png" if is_tokens else "x.txt"]) == 2
    assert main(["evaluate", "run", "--examples", 5, "--num_samples", 5]) == 0
    assert main(["export", "run", "saved"]) == 0
    assert not [one for one in recwarn if "mask attached" in str(one.message)]
    assert main(["train", "--resume", "run", "--epochs", 3]) == 0


@pytest.mark.again
def test_the_nats_of_a_token_are_those_of_all_over_their_number():
    run = trained("--recipe", "sentence_vae", "--data", "tokens.npy")
    tokens, found = np.load("tokens.npy"), results(run)
    test = tokens[np.random.default_rng(0).permutation(60)[-6:]]
    nats = -6 * found["log_likelihood"] / np.sum(test != 0)
    assert found["nats_per_token"] == pytest.approx(nats)
    assert found["token_perplexity"] == pytest.approx(np.exp(nats))
    train = tokens[np.random.default_rng(0).permutation(60)[:-6]]
    share = [np.sum(train == token) + 1 for token in range(1, 5)]
    share = np.array(share) / np.sum(share)
    alone = -np.log(share[test[test != 0] - 1]).mean()
    assert found["nats_per_token_by_frequency"] == pytest.approx(alone)


@pytest.mark.again
def test_the_words_stay_with_the_run(here, capsys):
    run = trained("--recipe", "sentence_vae", "--data", "some.txt", "--length", 3)
    words = run.read_words()
    assert words[:2] == ["", "[UNK]"]
    assert END in words
    assert run.read_config()["length"] == 3
    (here / "some.txt").rename(here / "other.txt")
    assert main(["sample", "run", "--num", 20, "--out", "x.txt"]) == 0
    lines = [line.split() for line in (here / "x.txt").read_text().splitlines()]
    assert {word for line in lines for word in line} <= set(words)
    assert max(map(len, lines)) <= 3
    (here / "some.txt").write_text("quite another text\nof two lines")
    assert main(["evaluate", "run"]) == 2
    assert "Expected the text that the run began with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ("--data some.txt", "Expected a recipe of tokens, such as sentence_vae"),
        ("--data none.txt", "none.txt, which is not there"),
        ("--length 3", "whose steps a length is of"),
        ("--data tokens.npy --recipe sentence_vae --likelihood normal", "likelihood of their own"),
    ],
)
def test_what_does_not_go_with_sequences_is_refused(options, fragment, capsys):
    assert main(["train", *FAST, *options.split(), "--out", "run"]) == 2
    assert fragment in capsys.readouterr().err
