"""The README's code runs as it is written, and its commands are those that CI runs."""

import re
import sys
import types

import pytest
import tensorflow_probability as tfp
from commands import main
from conftest import ROOT, command

from tfp_vae import layers

README = (ROOT / "README.md").read_text()


@pytest.mark.again
def test_the_python_in_the_readme_runs_from_top_to_bottom(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    script = tmp_path / "readme.py"
    check = "assert vae.evaluate(x_test, verbose=0, return_dict=True)['loss'] < 27"
    script.write_text("\n".join([*blocks, check]))
    done = command([sys.executable, script], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.again
@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_python_in_the_docs_runs_from_top_to_bottom(page, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    done = command([sys.executable, script], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_name_of_tfp_layers_is_here():
    pytest.importorskip("tf_keras", reason="tfp.layers needs tf_keras")
    theirs = {name for name in dir(tfp.layers) if not name.startswith("_")}
    modules = {name for name in theirs if isinstance(getattr(tfp.layers, name), types.ModuleType)}
    assert theirs - modules - set(layers.__all__) == set()


def test_the_first_example_is_short():
    first = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    statements = [line for line in first.splitlines() if line and not line.startswith(" ")]
    assert len(statements) <= 15


def test_the_commands_are_there_once_and_set_everything_up():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert [line.split("&&")[-1].split()[0] for line in commands] == [
        ".venv/bin/tfp-vae",
        ".venv/bin/pytest",
    ]


def test_the_readme_is_a_front_door():
    assert len(README.splitlines()) <= 120


def test_the_tree_has_every_room_in_the_order_of_imports():
    tree = re.search(r"```\ntfp_vae/\n(.*?)```", README, re.DOTALL)[1]
    rooms = [
        path.name + "/" * path.is_dir()
        for path in (ROOT / "tfp_vae").iterdir()
        if path.suffix in ("", ".py") and path.name[0] != "_"
    ]
    assert [room for room in rooms if not re.search(rf"(?<![\w/]){re.escape(room)}", tree)] == []


def test_every_command_line_option_in_the_docs_exists(capsys):
    pages = README + (ROOT / "docs" / "command.md").read_text()
    lines = [line for line in pages.splitlines() if "tfp-vae" in line and "venv" not in line]
    shown = set(re.findall(r"(?<=\s)--[a-z_]+", "\n".join(lines))) - {"--help"}
    for name in ("train", "evaluate", "sample", "export"):
        assert main([name, "--help"]) == 0
    known = capsys.readouterr().out
    assert {option for option in shown if option not in known} == set()


def test_pictures_and_links_are_there():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), target
