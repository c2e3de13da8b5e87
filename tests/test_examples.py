import re
import sys

import pytest
from conftest import ROOT, command

EXAMPLES = {
    "quickstart.py": (["quickstart.png"], r"negative test ELBO: (2\d\.\d+) nats", 26),
    "mnist_vae.py": (["samples.png", "vae.keras", "saved_model"], r"negative ELBO +(2\d\.\d+)", 26),
    "two_dimensional.py": (["manifold.png", "latent.png"], r"negative test ELBO (2\d\.\d+)", 26),
    "convolutional_vae.py": (["samples.png"], r"negative test ELBO: (2\d\.\d+) nats", 26),
    "conditional_vae.py": (["conditional.png"], r"negative test ELBO: (2\d\.\d+) nats", 26),
    "discrete_vae.py": (["discrete.png"], r"exact variable of ten values: nll (2\d\.\d+)", 26),
    "vq_vae.py": (["vq.png"], r"codes alike: nll (1\d\.\d+)", 26),
    "counts.py": (["counts.png"], r"ZeroInflatedNegativeBinomial: (\d+\.\d+) nats", 115),
    "regression.py": (["regression.png"], r"functions: (0\.\d+) nats", 26),
    "tables.py": ([], r"TableVAE +error of a hidden number: (0\.\d+)", 0.8),
    "two_processes.py": (["vae.keras"], r"negative test ELBO: (2\d\.\d+) nats", 26),
}


def test_every_example_is_run_and_short():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)
    for name in EXAMPLES:
        assert (ROOT / "examples" / name).read_text().count("\n") < 80


@pytest.mark.again
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_learns_and_leaves_what_it_says(name, tmp_path):
    """27.3 nats is what independent pixels reach, 117.8 what a Poisson does with the counts."""
    files, pattern, bar = EXAMPLES[name]
    done = command([sys.executable, ROOT / "examples" / name], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(re.search(pattern, done.stdout)[1]) < bar
    assert all((tmp_path / file).exists() for file in files)
