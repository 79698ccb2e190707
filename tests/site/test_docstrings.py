"""Docstrings before Sphinx reads them: formulas keep their lines, lists stand apart."""

from dearlib.site.docstrings import formulas_kept, lists_apart


def test_a_formula_becomes_a_literal_block() -> None:
    assert formulas_kept(["Text.", "", "    a = b   (Eq. 3)", "    c = d", "", "More."]) == [
        "Text.", "", "::", "", "    a = b   (Eq. 3)", "    c = d", "", "More.",
    ]  # fmt: skip


def test_the_indentation_of_sections_and_lists_is_left_alone() -> None:
    for lines in (["Args:", "    x: a number.", "", "    y: another."], ["- one", "", "    more of one"], ["Code::", "", "    x = 1"]):
        assert formulas_kept(lines) == lines


def test_a_list_needs_no_empty_line_before_or_after_it() -> None:
    assert lists_apart(["Choices:", "- one", "  goes on", "- two", "Then."]) == ["Choices:", "", "- one", "  goes on", "- two", "", "Then."]


def test_a_list_that_stands_apart_stays_as_it_is() -> None:
    lines = ["Choices:", "", "- one", "- two", "", "Then."]
    assert lists_apart(lines) == lines
