"""What holds of the source itself."""

import ast
import configparser
import doctest
import importlib
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
from tfp_vae.layers.distribution_lambda import DistributionLayer

PACKAGE = ROOT / "tfp_vae"

# Each may import only those above it.
ORDER = [
    "_backend",
    "errors",
    "loading",
    "kinds",
    "arguments",
    "types",
    "keras_model",
    "legacy",
    "sparse",
    "parameters",
    "precision",
    "shapes",
    "floors",
    "origins",
    "masks",
    "outside",
    "replicas",
    "first_calls",
    "seeded",
    "wiring",
    "schedules",
    "players",
    "asked",
    "coercible",
    "casts",
    "serialization",
    "tracking",
    "passes",
    "holding",
    "prior",
    "gaussian_kl",
    "relaxation",
    "side_by_side",
    "density",
    "divergence",
    "layers",
    "fused",
    "likelihood",
    "rescaled",
    "priors",
    "losses",
    "objectives",
    "chosen",
    "networks",
    "checks",
    "inference",
    "conditional",
    "default_prior",
    "ancestral",
    "generation",
    "sources",
    "value_checks",
    "data_checks",
    "amounts",
    "fitting",
    "without_kl",
    "fit_prior",
    "importance",
    "export",
    "export_by_name",
    "onnx_operations",
    "converters",
    "trained",
    "blocks",
    "ahead",
    "execution",
    "probabilistic_model",
    "named_data",
    "vae",
    "latent_model",
    "recipe",
    "recipes",
    "extending",
    "variants",
    "columns",
    "measures",
    "baseline_fits",
    "baseline_counts",
    "baselines",
    "evaluate",
    "report",
    "downloads",
    "data",
    "preparation",
    "plots",
    "callbacks",
    "interrupt",
    "writing",
    "model_files",
    "runs",
    "training",
    "cli",
]
PACKAGES = ["layers", "objectives", "priors"]  # whose modules import each other
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(tfp_vae.__path__, prefix="tfp_vae.")
)


def imports_of(path: Path) -> set[str]:
    """The modules of this package that a file imports, `layers.kl` as `layers`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "tfp_vae":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tfp_vae."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.name)
def test_imports_point_one_way(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts == ("__init__",):
        return
    allowed = ORDER[: ORDER.index(parts[0]) + (parts[0] in PACKAGES)]
    assert imports_of(path) <= set(allowed), f"{parts[0]} may import {allowed}"


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
    doc = DISTRIBUTION_LAYERS[name].__doc__
    says = {
        "a formula or what it makes": r"\A[^\n]*`[^`]+`|\AMakes",
        "its input": r"[Ii]nput|inputs",
        "its batch": r"[Bb]atch|shapes are yours",
        "its event": r"[Ee]vent|shapes are yours",
        "the tensor that it is": r"[Aa]s a\s+tensor|takes as the\s+tensor",
        "its arguments": r"\n    Args:\n",
        "its errors": r"\n    Raises:\n",
        "a source": r"arXiv:\d{4}\.\d{4,5}|doi:|\((19|20)\d\d\)|Source: |IJCAI 2018",
        "an example": r"\n      >>> ",
    }
    assert [what for what, pattern in says.items() if not re.search(pattern, doc)] == []


def test_every_public_name_is_there():
    for namespace in (tfp_vae, tfp_vae.layers):
        assert all(hasattr(namespace, name) for name in namespace.__all__)
        assert sorted(namespace.__all__) == sorted(set(namespace.__all__))


def test_importing_changes_nothing_outside():
    code = """
import logging, os, random, sys
import tensorflow, keras, numpy, tensorflow_probability
modules = set(sys.modules)
before = (dict(os.environ), list(logging.getLogger().handlers), list(sys.path),
          keras.config.floatx(), random.getstate(), numpy.random.get_state()[1].tolist())
import tfp_vae
from tfp_vae.layers.distribution_lambda import DistributionLayer
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
