"""What holds of the source itself."""

import ast
import configparser
import doctest
import importlib
import inspect
import pkgutil
import re
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import ROOT, command, python

import tfp_vae
from tfp_vae.layers.base.distribution_layer import DistributionLayer

PACKAGE = ROOT / "tfp_vae"
ROOTS = ("tfp_vae", "tfp_vae_cli")

# The rooms, and the files beside them: each may import itself and those above it.
ORDER = [
    "errors",
    "bridge",
    "arguments",
    "types",
    "schedules",
    "wiring",
    "distributions",
    "bijectors",
    "layers",
    "losses",
    "networks",
    "objectives",
    "priors",
    "callbacks",
    "steps",
    "model",
    "recipes",
    "extending",
    "evaluation",
    "data",
    "plots",
    "tables",
    "app",
]
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(tfp_vae.__path__, prefix="tfp_vae.")
)


def imports_of(path: Path) -> set[str]:
    """The modules of `tfp_vae` and `tfp_vae_cli` that a file imports, at any place in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOTS:
            for alias in node.names:
                module = ROOT.joinpath(*node.module.split("."), alias.name)
                inner = module.is_dir() or module.with_suffix(".py").exists()
                found.add(f"{node.module}.{alias.name}" if inner else node.module)
    return found


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(path for root in ROOTS for path in (ROOT / root).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    """Its first folder or file in `tfp_vae`; "" of another package."""
    package, _, rest = module.partition(".")
    return rest.split(".")[0] if package == "tfp_vae" else ""


@pytest.mark.parametrize("name", [name for name in modules() if room(name)])
def test_imports_point_one_way(name):
    rooms = {room(module) for module in imports_of(modules()[name])} - {""}
    allowed = ORDER[: ORDER.index(room(name)) + 1]
    assert rooms <= set(allowed), f"{name} may import {allowed}"


def test_no_files_import_each_other():
    # `import tfp_vae` at the head of a file is no part of it: no file imports from there.
    waiting = {name: imports_of(path) for name, path in modules().items() if name != "tfp_vae"}
    while free := [name for name, needs in waiting.items() if not needs & set(waiting)]:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    assert waiting == {}


def test_the_first_step_of_the_command_needs_nothing_of_the_second():
    """But for its entry point, which imports TensorFlow's part when there is work to do."""
    of_tensorflow = {
        name
        for name, path in modules().items()
        if name.startswith("tfp_vae_cli") and any(map(room, imports_of(path)))
    }
    assert of_tensorflow == {"tfp_vae_cli.command"}


@pytest.mark.parametrize(
    "folder",
    [
        path
        for root in ROOTS
        for path in (ROOT / root, *(ROOT / root).rglob("*"))
        if path.is_dir() and path.name != "__pycache__"
    ],
)
def test_no_name_is_another_with_a_suffix(folder):
    names = {path.stem for path in folder.iterdir() if path.stem[0] != "_"}
    twins = [(a, b) for a in names for b in names if a + "s" == b or b.startswith(f"{a}_")]
    assert twins == []


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    usual = {"keras": keras, "np": np, "tf": tf, "tfp": tfp, "tfd": tfp.distributions}
    results = doctest.testmod(module, extraglobs=usual, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def public_objects():
    for name in MODULES:
        for key, value in vars(importlib.import_module(name)).items():
            ours = getattr(value, "__module__", None) == name and callable(value)
            if ours and not key.startswith("_") and hasattr(value, "__doc__"):
                yield f"{name}.{key}", value


@pytest.mark.parametrize(
    "value", [v for _, v in public_objects()], ids=[k for k, _ in public_objects()]
)
def test_public_names_have_docstrings(value):
    assert value.__doc__
    assert not value.__doc__.startswith(f"{value.__name__}(")  # what a dataclass makes up


def test_public_layers_and_objectives_show_an_example():
    for namespace in (tfp_vae.layers, tfp_vae):
        for name in namespace.__all__:
            value = getattr(namespace, name)
            if isinstance(value, type) and name != "InputError":
                assert ">>>" in value.__doc__, name


DISTRIBUTION_LAYERS = {
    name: layer
    for name, layer in vars(tfp_vae.layers).items()
    if isinstance(layer, type) and issubclass(layer, DistributionLayer)
}


@pytest.mark.parametrize("name", DISTRIBUTION_LAYERS)
def test_the_docstring_of_a_distribution_layer_says_all_of_it(name):
    doc = inspect.getdoc(DISTRIBUTION_LAYERS[name])
    says = {
        "a formula or what it makes": r"\A[^\n]*`[^`]+`|\AMakes",
        "its input": r"[Ii]nput|inputs",
        "its batch": r"[Bb]atch|shapes are yours",
        "its event": r"[Ee]vent|shapes are yours",
        "the tensor that it is": r"[Aa]s a\s+tensor|takes as the\s+tensor",
        "its arguments": r"\nArgs:\n",
        "its errors": r"\nRaises:\n",
        "a source": r"arXiv:\d{4}\.\d{4,5}|doi:|\((19|20)\d\d\)|Source: |IJCAI 2018",
        "an example": r"\n  >>> ",
    }
    assert [what for what, pattern in says.items() if not re.search(pattern, doc)] == []


def test_every_public_name_is_there():
    for namespace in (tfp_vae, tfp_vae.layers):
        assert all(hasattr(namespace, name) for name in namespace.__all__)
        assert sorted(namespace.__all__) == sorted(set(namespace.__all__))


@pytest.mark.again
def test_importing_changes_nothing_outside():
    code = """
import logging, os, random, sys
import tensorflow, keras, numpy, tensorflow_probability
modules = set(sys.modules)
before = (dict(os.environ), list(logging.getLogger().handlers), list(sys.path),
          keras.config.floatx(), random.getstate(), numpy.random.get_state()[1].tolist())
import tfp_vae
from tfp_vae.layers.base.distribution_layer import DistributionLayer
after = (dict(os.environ), list(logging.getLogger().handlers), list(sys.path),
         keras.config.floatx(), random.getstate(), numpy.random.get_state()[1].tolist())
assert before == after
print(sorted({m.split(".")[0] for m in set(sys.modules) - modules} &
             {"matplotlib", "sklearn", "tensorflow_datasets", "jsonargparse", "yaml"}))
"""
    assert python(code).split() == ["[]"]


def test_one_version():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == "attr: tfp_vae_cli.__version__"
    assert re.search(rf"## {re.escape(tfp_vae.__version__)}\b", (ROOT / "CHANGELOG.md").read_text())


def test_an_index_shows_the_readme_without_links_that_lead_nowhere(tmp_path):
    pytest.importorskip("setuptools")
    for name in ("setup.py", "setup.cfg", "README.md", "LICENSE", "tfp_vae_cli/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    code = "from setuptools import build_meta as b; b.prepare_metadata_for_build_wheel('.')"
    done = command([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    shown = metadata.read_text()
    assert re.findall(r"\]\((?!https?:)[^)]*\)", shown) == []
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if "](" not in line]
    assert [line for line in lines if line not in shown] == []
    assert "docs/variants.md" in shown
