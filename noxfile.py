"""`nox` runs the quick tests on every Python, then lint and types; see docs/developing.md."""

import nox

nox.options.default_venv_backend = "venv"


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Runs the quick tests, or what follows `--`: `nox -s tests-3.12 -- --full`."""
    session.install(".[test]")
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Checks the style and the layout of every file."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Checks the types of the package, the command and the examples."""
    session.install(".", "mypy")
    session.run("mypy")
