"""The README as an index shows it: no page of this repository is there to be linked to."""

import re
from pathlib import Path

from setuptools import setup

readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
without_pictures = re.sub(r"!\[[^]]*\]\([^)]*\)\n+", "", readme)
setup(long_description=re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", without_pictures))
