"""Files of a run that were changed, cut off or crafted, and disks that are full: one line each."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import shutil
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from commands import SMALL, main, state
from conftest import ROOT, command, small_networks

from tfp_vae import VAE, InputError, data
from tfp_vae.app import cli, runs
from tfp_vae.bridge import writing

sys.path.append(str(ROOT))

from benchmarks.faults import mutations


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "run"
    assert main(["train", "--epochs", 2, *SMALL, "--out", folder]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> Path:
    """A copy of it, in the folder at hand."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")
    return Path("run")


def in_config(file, change):
    """Rewrites a model with its config changed."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config["config"])
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def wide(config):
    dense = [x for x in config["encoder"]["config"]["layers"] if x["class_name"] == "Dense"]
    dense[0]["config"]["units"] = 10**9
    dense[1]["build_config"]["input_shape"][-1] = 10**9


def broken(file):
    vae = keras.models.load_model(file)
    vae.encoder.set_weights([np.full_like(w, np.nan) for w in vae.encoder.get_weights()])
    vae.save(file)


def edited(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


SAMPLE, EVALUATE = "sample run --num 2 --out x.npy", "evaluate run --num_samples 2"
RESUME, EXPORT = "train --resume run --epochs 3", "export run saved"
CHANGES = {
    "a cut model": (
        lambda run: (run / "model.keras").write_bytes((run / "model.keras").read_bytes()[:3000]),
        [SAMPLE, EVALUATE, EXPORT, RESUME],
        r"run/model.keras to be a model that loads.*Received: no .keras file, or one that was cut",
    ),
    "an archive of nothing": (
        lambda run: zipfile.ZipFile(run / "model.keras", "w").close(),
        [SAMPLE, RESUME],
        "run/model.keras to be a model that loads",
    ),
    "a layer of 10**9 units": (
        lambda run: in_config(run / "model.keras", wide),
        [SAMPLE],
        r"Expected at most [\d,]+ values. Received: [\d,]{14,} in its config",
    ),
    "weights that are NaN": (
        lambda run: broken(run / "model.keras"),
        [SAMPLE, EVALUATE, EXPORT, RESUME],
        "finite weights in run/model.keras",
    ),
    "an empty config": (
        lambda run: (run / "config.yaml").write_text(""),
        [SAMPLE, EVALUATE, EXPORT, RESUME],
        "run/config.yaml",
    ),
    "keys that are missing": (
        lambda run: (run / "config.yaml").write_text("epochs: 2\n"),
        [SAMPLE, EVALUATE, RESUME],
        "run/config.yaml to hold all options of a run. Received: no data",
    ),
    "a config in latin-1": (
        lambda run: (run / "config.yaml").write_bytes("data: größe\n".encode("latin-1")),
        [SAMPLE, RESUME],
        "run/config.yaml.*no text in UTF-8",
    ),
    "a config with aliases": (
        lambda run: (run / "config.yaml").write_text("a: &a [1, 2]\nb: [*a, *a]\n"),
        [SAMPLE],
        "run/config.yaml.*aliases",
    ),
    "a config of another model": (
        lambda run: edited(run / "config.yaml", "latent_size: 2", "latent_size: 3"),
        [SAMPLE, RESUME],
        r"options that model.keras was made by: latent_size: 2 Received: latent_size: 3",
    ),
    "metrics of bytes": (
        lambda run: (run / "metrics.csv").write_bytes(b"\x00\xff\n\x00"),
        [RESUME],
        "run/metrics.csv to begin with a line of names",
    ),
    "results of null": (lambda run: (run / "results.json").write_text("null"), [SAMPLE], None),
    "an optimizer of another": (
        lambda run: shutil.copy(_other(run), run / "model.keras"),
        [RESUME],
        "run/model.keras to be a model that loads",
    ),
}


def _other(run):
    """A model whose weights file lacks what the optimizer had."""
    import h5py

    file = run / "other.keras"
    with zipfile.ZipFile(run / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    store = io.BytesIO(members["model.weights.h5"])
    with h5py.File(store, "r+") as weights:
        del weights["optimizer/vars/3"]
    members["model.weights.h5"] = store.getvalue()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize(("change", "orders", "message"), CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.one
def test_what_was_changed_in_a_run_is_one_line(run, capsys, change, orders, message):
    change(run)
    for order in orders:
        capsys.readouterr()
        code = main(order.split())
        err = capsys.readouterr().err
        assert code == (2 if message else 0)
        if message:
            assert err.count("\n") == 1
            assert re.search(message, err)


@pytest.mark.again
@pytest.mark.parametrize(
    "first",
    [0, *(pytest.param(first, marks=pytest.mark.again) for first in range(20, 500, 20))],
)
def test_mutations_run_nothing_and_show_no_traceback(run, first):
    ran, watching = [], [True]

    def watch(event, arguments):
        if watching and event in mutations.RUNS_CODE:
            ran.append(event)

    sys.addaudithook(watch)
    before = keras.config.epsilon(), keras.config.floatx(), keras.config.dtype_policy()
    shutil.move("run", "whole")
    try:
        for number in range(first, first + 20):
            code, said, how = mutations.tried(number, seed=1)
            assert code in (0, 2), how + said
            assert said.count("\n") <= 1 or code == 0, how + said
            assert "Traceback" not in said
    finally:
        watching.clear()
    assert ran == []
    assert (keras.config.epsilon(), keras.config.floatx(), keras.config.dtype_policy()) == before


# -- what is ours -------------------------------------------------------------------------------


def test_a_defect_of_ours_is_one_line_and_a_traceback_where_it_is_asked_for(
    run, monkeypatch, capsys
):
    def fails(*args):
        raise KeyError("ours")

    monkeypatch.setattr(cli, "drawn", fails)
    assert main(SAMPLE.split()) == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "KeyError: 'ours'" in err
    assert "--debug" in err
    assert main([*SAMPLE.split(), "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shell", "code", "line"),
    [
        ("{} --help | head -1; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{} --help >&-", 0, ""),
        ("{} nothing 2>&-", 2, ""),
        ("{} --help >/dev/full", 2, "No space left on device"),
    ],
)
def test_output_that_nobody_takes_is_no_traceback(shell, code, line):
    words = shell.format(f"{sys.executable} -m tfp_vae_cli")
    done = command(["bash", "-c", words], PYTHONUNBUFFERED="")
    assert done.returncode == code
    assert done.stderr.count("\n") == bool(line)
    assert line in done.stderr


# -- full disks ---------------------------------------------------------------------------------


class Disk:
    """One that is full from some write on, of those to a folder's files."""

    def __init__(self):
        self.left = 10**9
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        path = arguments[0] if arguments else None
        is_write = event == "os.rename" or (event == "open" and arguments[2] & os.O_CREAT)
        if not is_write or not isinstance(path, (str, os.PathLike)) or "full" not in str(path):
            return
        if self.left <= 0:
            named = (path,) if event == "open" else ()  # as the operating system does
            raise OSError(errno.ENOSPC, "No space left on device", *named)
        self.left -= 1


@pytest.fixture(scope="module")
def disk():
    return Disk()


@pytest.mark.again
@pytest.mark.parametrize(
    "writes", [0, 3, 7, *(pytest.param(n, marks=pytest.mark.again) for n in (1, 2, 4, 5, 6, 8, 9))]
)
def test_a_run_on_a_full_disk_names_the_file_and_goes_on_from_what_it_has(
    trained, disk, tmp_path, monkeypatch, capsys, writes
):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--epochs", 2, *SMALL, "--out", "full"]
    disk.left = writes
    assert main(words) == 2
    disk.left = 10**9
    err = capsys.readouterr().err
    assert re.search(r"error: \S*full/\S+: No space left on device \(.*--resume\)\n$", err)
    begun = Path("full/config.yaml").is_file()
    assert main(["train", "--resume", "full"] if begun else words) == 0
    whole, resumed = runs.Run.open(trained), runs.Run.open("full")
    for a, b in zip(state(resumed.load_model()), state(whole.load_model()), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.history.read_bytes() == whole.history.read_bytes()
    assert not list(Path("full").rglob("*.new*"))


def test_what_is_written_takes_its_place_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fails():
        with writing.replacing(file) as new:
            new.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")  # as a library does

    with pytest.raises(OSError, match="No space") as raised:
        fails()
    assert raised.value.filename == str(file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    (tmp_path / "model.new.keras").touch()  # of a run that was killed
    with runs.Run(tmp_path).locked():
        assert not (tmp_path / "model.new.keras").exists()


@pytest.mark.again
def test_an_export_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    vae = VAE(*small_networks())

    archive = type(keras.export.ExportArchive())

    def fails(self, folder, verbose):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "variables").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(archive, "write_out", fails)
            with pytest.raises(OSError, match="No space"):
                vae.export(tmp_path / "new", verbose=False)
        assert not (tmp_path / "new").exists()
    vae.export(tmp_path / "new", verbose=False)
    before = set((tmp_path / "new").rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(archive, "write_out", fails)
        with pytest.raises(OSError, match="No space"):
            vae.export(tmp_path / "new", verbose=False)
    assert set((tmp_path / "new").rglob("*")) == before
    vae.export(tmp_path / "new", verbose=False)
    assert set((tmp_path / "new").rglob("*")) == before


# -- data ---------------------------------------------------------------------------------------


def header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + b"\0" * 100


def with_members(file, **members):
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def test_declared_sizes_are_looked_at_before_memory_is_taken(tmp_path):
    huge = header((10**6, 10**6))
    (tmp_path / "x.npy").write_bytes(huge)
    with_members(tmp_path / "x.npz", x_train=huge, x_test=huge)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(InputError, match="file of numbers"):
            data.load(tmp_path / name)


def test_a_member_that_is_not_needed_is_not_read(tmp_path):
    few = io.BytesIO()
    np.save(few, np.zeros([4, 8, 8], np.uint8))
    with_members(
        tmp_path / "x.npz", x_train=few.getvalue(), x_test=few.getvalue(), other=header((10**12,))
    )
    assert data.load(tmp_path / "x.npz").train.shape == (4, 8, 8, 1)


def test_the_home_folder_is_meant(monkeypatch, tmp_path):
    from tfp_vae_cli import reading

    monkeypatch.setenv("HOME", str(tmp_path))
    words = {"out": "~/a", "resume": "~/b", "data": "~/c.npy"}
    given = reading.given("train", [f"--{name}={value}" for name, value in words.items()])
    assert given.own == {name: value.replace("~", str(tmp_path)) for name, value in words.items()}
    assert reading.given("export", ["~/run", "~/saved"]).own["out"] == f"{tmp_path}/saved"


@pytest.mark.parametrize("seed", range(3))
def test_the_mutations_change_something(run, seed):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    mutations.mutated(run, random.Random(seed))
    assert sum(path.read_bytes() != content for path, content in before.items()) <= 1
