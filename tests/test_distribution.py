"""What is given away: a whole source distribution, and all that is imported declared."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
from conftest import ROOT

# The name of a distribution by that of its package, where they differ.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}


def imported(folder):
    """All top-level packages that are imported anywhere below a folder, also within functions."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


def declared(section, option):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config[section][option].split("\n")
    return {re.split(r"[\s\[<>=;]", line.strip())[0].lower() for line in lines if line.strip()}


def test_what_is_imported_is_declared():
    optional = set()
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for extra in config["options.extras_require"]:
        optional |= declared("options.extras_require", extra)
    known = declared("options", "install_requires") | optional | {"tfp-vae", "tfp-vae-cli"}
    names = set(imported(ROOT / "tfp_vae")) - set(sys.stdlib_module_names)
    found = {DISTRIBUTIONS.get(name, name).replace("_", "-").lower() for name in names}
    assert found <= {name.replace("_", "-") for name in known}


@pytest.mark.again
def test_the_source_distribution_is_whole(tmp_path):
    pytest.importorskip("setuptools")
    if not (ROOT / "MANIFEST.in").exists():
        pytest.skip("the tests stand beside an installed package, not in its source")
    ignored = shutil.ignore_patterns(
        ".venv", ".git", "*.egg-info", "__pycache__", "runs", ".*_cache"
    )
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=ignored)
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        str(path.relative_to(source))
        for top in ("tfp_vae", "tests", "docs", "examples", "benchmarks", ".ci", "*.*")
        for path in (source.glob(top) if "*" in top else (source / top).rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and ".egg-info" not in str(path)
    }
    assert {
        "CHANGELOG.md",
        "tests/layers/layer_table.py",
        "docs/migrating.md",
        ".ci/run",
    } <= expected
    assert expected - {".gitignore"} <= names
