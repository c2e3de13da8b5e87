"""Which cases are quick: see docs/developing.md."""

from types import SimpleNamespace

import pytest
from conftest import quick_cases


class Case:
    path, parent = "tests/test_a.py", SimpleNamespace(name="tests/test_a.py")

    def __init__(self, test, *marks, **params):
        self.originalname, self.marks = test, marks
        self.callspec = SimpleNamespace(params=params)

    def get_closest_marker(self, name):
        return name in self.marks


@pytest.mark.parametrize("rows", [range(3), [[0], [1], [2]]], ids=["values", "no hashes"])
def test_each_test_has_a_case_and_each_row_is_somewhere(rows):
    first, second = ([Case(test, row=row) for row in rows] for test in ("first", "second"))
    assert quick_cases([*first, *second]) == {first[0], second[1], first[2]}


def test_another_argument_is_another_table():
    cases = [Case("first", row=n) for n in (0, 1)] + [Case("second", kind=n) for n in (0, 1)]
    assert quick_cases(cases) == set(cases)


def test_marks_take_away():
    once = [Case("once", "one", row=row) for row in range(3)]
    rest = [Case("rest", *["again"] * (row < 2), row=row) for row in range(4)]
    never = Case("never", "again")
    assert quick_cases([*once, *rest, never]) == {once[0], *rest[2:]}
