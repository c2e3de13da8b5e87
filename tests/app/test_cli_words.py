"""What the command reads before TensorFlow is loaded: words, YAML files, folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import TFP_VAE
from conftest import ROOT, python

from tfp_vae import objectives, recipes
from tfp_vae.recipes.base import LIKELIHOODS
from tfp_vae_cli import called, folders, names, options, reading
from tfp_vae_cli.refusal import Refusal

JARGON = ("Union", "v>0", "<class", "NoneType", "Literal", "Traceback", "type hint", "subclass")


@pytest.mark.parametrize("command", options.OPTIONS)
def test_options_take_their_examples_and_defaults(command):
    for name, option in options.OPTIONS[command].items():
        option.read(name, option.example.strip("'"))  # which each message shows
        if not option.is_positional:
            read = option.read(name, option.default)
            assert (tuple(read) if isinstance(read, list) else read) == option.default


def test_the_names_are_those_of_the_tables():
    assert tuple(recipes.RECIPES) == names.RECIPES
    assert tuple(LIKELIHOODS) == names.LIKELIHOODS
    parts = ("Forward", "ForwardPass", "Objective", "Term", "Terms")
    known = [name for name in objectives.__all__ if name not in parts]
    assert tuple(known) == names.OBJECTIVES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--epochs 3", {"epochs": 3}),
        ("--epochs=3", {"epochs": 3}),
        ("--epochs null", {"epochs": None}),
        ("--batch-size 8", {"batch_size": 8}),
        ("--learning_rate 1e-3", {"learning_rate": 1e-3}),
        ("--widths [8,16]", {"widths": [8, 16]}),
        ("--widths [8, 16]", {"widths": [8, 16]}),
        ("--widths 8 16 --seed 1", {"widths": [8, 16], "seed": 1}),
        ("--widths 8,16", {"widths": [8, 16]}),
        ("--widths 8", {"widths": [8]}),
        ("--widths []", {"widths": []}),
        ("--conditional", {"conditional": True}),
        ("--conditional --seed 1", {"conditional": True, "seed": 1}),
        ("--conditional no", {"conditional": False}),
        ("--objective IWAE", {"objective": {"class_path": "IWAE"}}),
        ("--objective null", {"objective": None}),
        ("--objective my.Own", {"objective": {"class_path": "my.Own"}}),
        ("--objective.beta 4", {"objective": {"init_args": {"beta": 4}}}),
        (
            "--objective.num_samples 5 --objective IWAE",
            {"objective": {"class_path": "IWAE", "init_args": {"num_samples": 5}}},
        ),
        (
            "--objective.beta s.Cyclical --objective.beta.period 20",
            {"objective": {"init_args": {"beta": {"class_path": "s.Cyclical",
                                                  "init_args": {"period": 20}}}}},
        ),
        (
            "--objective.beta.period 20 --objective.beta s.Cyclical",
            {"objective": {"init_args": {"beta": {"class_path": "s.Cyclical",
                                                  "init_args": {"period": 20}}}}},
        ),
    ],
)  # fmt: skip
def test_words_are_read_as_they_are_meant(words, expected):
    given = reading.given("train", words.split())
    assert given.own == given.options == expected


def test_a_place_is_taken_by_the_word_that_is_no_option():
    for words in ("--draw run", "run --draw", "--draw true run", "run --draw=yes"):
        assert reading.given("sample", words.split()).own == {"run": "run", "draw": True}
    for words in ("run out", "--out out run", "run --out=out", "--run run out"):
        assert reading.given("export", words.split()).own == {"run": "run", "out": "out"}


def test_options_of_a_file_are_overridden_and_its_objective_extended(here):
    (here / "c.yaml").write_text(
        "epochs: 3\nseed: null\nlearning_rate: 2e-3\nobjective:\n  class_path: a.IWAE\n"
        "  init_args: {num_samples: 5}\n"
    )
    words = ["--config", "c.yaml", "--epochs", "4", "--objective.estimator", "dreg"]
    assert reading.given("train", words).options == {
        "epochs": 4,
        "learning_rate": 2e-3,
        "objective": {
            "class_path": "a.IWAE",
            "init_args": {"num_samples": 5, "estimator": "dreg"},
        },
    }
    other = reading.given("train", ["--config=c.yaml", "--objective=ELBO", "--objective.beta=4"])
    assert other.options["objective"] == {"class_path": "ELBO", "init_args": {"beta": 4}}


@pytest.mark.parametrize(
    ("command", "words", "fragment"),
    [
        ("train", "--colour blue", "an option of train"),
        ("train", "--epoch 3", "Did you mean --epochs?"),
        ("train", "-e 3", "an option of train"),
        ("train", "--data.x 3", "an option of train"),
        ("train", "--epochs", "followed by a whole number from 1, such as --epochs 20"),
        ("train", "--epochs --seed 1", "--epochs to be followed by"),
        ("train", "--epochs 0", "to be a whole number from 1, such as --epochs 20. Received: 0"),
        ("train", "--epochs 1.5", "Received: 1.5"),
        ("train", "--epochs ten", "Received: ten"),
        ("train", "--epochs true", "a whole number"),
        ("train", "--latent_size -1", "--latent_size to be a whole number from 1"),
        ("train", "--widths [0]", "--widths to be a list of whole numbers from 1, such as"),
        ("train", "--widths [8", "--widths to be a list of whole numbers"),
        ("train", "--widths a b", "Received: [a,b]"),
        ("train", "--widths 1.5", "--widths to be a list"),
        ("train", "--learning_rate 0", "--learning_rate to be a number above 0, such as"),
        ("train", "--learning_rate nan", "a number above 0"),
        ("train", "--learning_rate inf", "a number above 0"),
        ("train", "--learning_rate fast", "Received: fast"),
        ("train", "--seed -1", "a whole number from 0"),
        ("train", "--seed 4294967296", "At most 4294967295."),
        ("train", "--widths 8 99999999999", "At most 2147483647. Received: [8,99999999999]"),
        ("train", "--conditional maybe", "true or false"),
        ("train", "--binarize often", "'dynamic', 'fixed', 'none'"),
        ("train", "--binarize dinamic", "Did you mean dynamic?"),
        ("train", "--body tree", "'mlp', 'conv'"),
        ("train", "--recipe beta-vae", "Did you mean beta_vae?"),
        ("train", "--likelihood gauss", "one of bernoulli"),
        ("train", "--objective Foo", "Known objectives: CIWAE, DIP, ELBO, IWAE"),
        ("train", "--objective iwae", "Did you mean IWAE?"),
        ("train", "--objective 4", "the name of an objective, such as --objective IWAE"),
        ("train", "--objective [1]", "the name of an objective"),
        ("train", "--objective {a: 1}", "the name of an objective"),
        ("train", "--objective. 4", "such as --objective.beta 4"),
        ("train", "--out=", "the name of a new folder"),
        ("train", "mnist", "no further words: tfp-vae train"),
        ("evaluate", "", "the folder of a run, as train writes it: tfp-vae evaluate RUN"),
        ("evaluate", "a b", "no further words: tfp-vae evaluate RUN"),
        ("evaluate", "a --num_samples 0", "num_samples"),
        ("export", "a", "the folder to write: tfp-vae export RUN OUT"),
        ("sample", "a --num many", "--num to be a whole number from 1"),
        ("train", "--config gone.yaml", "gone.yaml to be a YAML file"),
        ("train", "--config .", "Received: Is a directory"),
        ("train", "--config broken.yaml", "broken.yaml to be a YAML file"),
        ("train", "--config list.yaml", "with lines such as epochs: 20. Received: [1, 2]"),
        ("train", "--config empty.yaml", "with lines such as epochs: 20"),
        ("train", "--config bytes.yaml", "bytes.yaml to be a YAML file"),
        ("train", "--config unknown.yaml", "in the config unknown.yaml. Did you mean epochs?"),
        ("train", "--config wrong.yaml", "epochs in wrong.yaml to be a whole number from 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_plain_words(here, command, words, fragment):
    for name, text in (
        ("broken", b"epochs: ["), ("list", b"[1, 2]"), ("empty", b""), ("bytes", b"\xff\xfe\x00"),
        ("unknown", b"epoch: 3"), ("wrong", b"epochs: [3]"),
    ):  # fmt: skip
        (here / f"{name}.yaml").write_bytes(text)
    with pytest.raises(Refusal) as caught:
        reading.given(command, words.split())
    assert fragment in str(caught.value)
    assert not any(word in str(caught.value) for word in JARGON)


RUN = "\n".join(
    f"{name}: {option.example.strip(chr(39))}"
    for name, option in options.OPTIONS["train"].items()
    if name not in ("out", "resume", "standardize")
)


def made_run(folder: Path, config: str = RUN) -> str:
    folder.mkdir()
    (folder / "config.yaml").write_text(config)
    (folder / "model.keras").write_bytes(b"")
    return str(folder)


@pytest.mark.parametrize(
    ("command", "words", "fragment"),
    [
        ("train", "--resume run --out other", "expected no --out. Received: other"),
        ("train", "--resume incomplete", "Received: no data, recipe, likelihood"),
        ("train", "--resume nowhere", "nowhere, without config.yaml"),
        ("train", "--out full", "new or empty folder for the run (--resume"),
        ("train", "--out file", "new or empty folder for the run"),
        ("train", "--out file/below", "file, which is none"),
        ("train", "--data gone.npy", "gone.npy, which is not there"),
        ("train", "--data cells.csv", "numpy.save"),
        ("train", "--data full", "numpy.save"),
        ("evaluate", "nowhere", "nowhere, without config.yaml and model.keras"),
        ("sample", "other", "data in other/config.yaml to be digits, the name of"),
        ("evaluate", "incomplete", "to hold all options of a run. Received: no data"),
        ("sample", "run --out x.jpg", ".png, .npy or .txt. Received: x.jpg"),
        ("sample", "run --num 2501", "a .npy file takes any number. Received: 2501"),
        ("sample", "run --out file/x.png", "file, which is none"),
        ("export", "run full", "new or empty folder, or a SavedModel"),
        ("export", "run file", "new or empty folder, or a SavedModel"),
        ("export", "run file/below", "file, which is none"),
    ],
)
def test_files_and_folders_are_looked_at_first(here, command, words, fragment):
    made_run(here / "run")
    made_run(here / "incomplete", "binarize: none\n")
    made_run(here / "other", "data: [1]\nbinarize: none\n")
    (here / "full").mkdir()
    (here / "full" / "file").touch()
    (here / "file").touch()
    with pytest.raises(Refusal) as caught:
        folders.check(command, reading.given(command, words.split()))
    assert fragment in str(caught.value)


def test_what_may_not_be_written_is_refused_first(here, monkeypatch):
    """Root may write everywhere, so the system's answer is given here."""
    made_run(here / "run")
    reading.given("train", ["--resume", "run"])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for command, words in (
        ("export", "run new"), ("sample", "run --out x.png"), ("train", "--out new"), ("train", ""),
    ):  # fmt: skip
        with pytest.raises(Refusal, match="read-only"):
            folders.check(command, reading.given(command, words.split()))


def test_a_refusal_needs_no_tensorflow(here):
    made_run(here / "run")
    cases = [
        ["train", "--epochs", "0"], ["train", "--recipe", "nothing"], ["train", "--data", "mnits"],
        ["train", "--objective", "Foo"], ["train", "--data", "gone.npy"], ["evaluate", "nowhere"],
        ["sample", "run", "--out", "x"], ["export", "run", "."],
    ]  # fmt: skip
    code = f"""
import sys
from tfp_vae_cli.command import main
for words in {cases!r}:
    assert main(words) == 2, words
for words in (["train", "--help"], ["sample", "-h"], ["train", "--print_config"]):
    assert main(words) == 0, words
    assert "tensorflow" not in sys.modules, words
"""
    python(code, cwd=here, PYTHONPATH=str(ROOT))


@pytest.mark.again
def test_ctrl_c_while_tensorflow_loads_is_one_line(here):
    # A child ignores SIGINT if this process does, as one that a shell runs in the background.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        process = subprocess.Popen(
            [*TFP_VAE, "train"], cwd=here, env=environment, text=True, stderr=subprocess.PIPE
        )
    finally:
        signal.signal(signal.SIGINT, handler)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "tfp-vae: interrupted\n")


@pytest.mark.again
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_shows_at_once_what_takes_the_time(here):
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    with subprocess.Popen([*TFP_VAE, "train"], cwd=here, env=environment, stderr=theirs) as process:
        said = os.read(ours, 100)
        seconds = time.monotonic() - start
        process.kill()
    assert said.startswith(b"loading TensorFlow")
    assert seconds < 2
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("argument", "path", "expected"),
    [
        ("tfp-vae", "", "tfp-vae"),
        (".venv/bin/tfp-vae", "", ".venv/bin/tfp-vae"),
        ("{here}/.venv/bin/tfp-vae", "", ".venv/bin/tfp-vae"),
        ("{here}/.venv/bin/tfp-vae", "{here}/.venv/bin", "tfp-vae"),
        ("/elsewhere/my tools/tfp-vae", "", "'/elsewhere/my tools/tfp-vae'"),
        ("{here}/tfp_vae_cli/__main__.py", "", ".venv/bin/python -m tfp_vae_cli"),
        ("{here}/tfp_vae_cli/__main__.py", "{here}/.venv/bin", "python -m tfp_vae_cli"),
    ],
)
def test_the_next_command_is_the_one_that_was_called(here, monkeypatch, argument, path, expected):
    binaries = here / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("tfp-vae", "python"):
        (binaries / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [argument.format(here=here)])
    monkeypatch.setattr(sys, "executable", str(binaries / "python"))
    monkeypatch.setenv("PATH", path.format(here=here) or "/nowhere")
    assert called.called() == expected
    assert called.beside("tensorboard") == ".venv/bin/tensorboard"
