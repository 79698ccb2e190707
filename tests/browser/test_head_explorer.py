"""The head explorer in a browser: what it colours and draws is what dearlib computes, and every part can be reached."""

from pathlib import Path
from typing import Any

import pytest
from explorer_example import example

from dearlib.methods.masks import layer_mask
from dearlib.plots.style import ROLE_COLORS
from dearlib.roles.controls import against_recorded_chance, rethresholded
from dearlib.roles.rolefile import HeadRoles

MADE = {"mini": example(), "paper": example(factors=False, tokens_per_attribute=2)}
SLIDE = """([id, value]) => {
  const slider = document.getElementById(id);
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}"""
SHOWN = """() => [...document.querySelectorAll("#map .cell")].map((c) => [c.dataset.role, getComputedStyle(c).backgroundColor])"""
OPEN = """() => [...document.querySelectorAll("#mask-small button")].map((b) =>
  [...b.querySelectorAll("rect")].map((r) => [Number(r.dataset.query), Number(r.dataset.key), r.dataset.open === "1"]))"""

# A walk over 4 layers × 12 heads, from the first head: key, and where it leads.
WALK = [
    ("ArrowLeft", "L9 H0"),
    ("ArrowUp", "L9 H0"),
    ("ArrowRight", "L9 H1"),
    ("ArrowDown", "L10 H1"),
    ("End", "L10 H11"),
    ("ArrowRight", "L10 H11"),
    ("ArrowDown", "L11 H11"),
    ("Home", "L11 H0"),
    ("ArrowDown", "L12 H0"),
    ("ArrowDown", "L12 H0"),
]


def set_thresholds(page: Any, low: float, high: float) -> None:
    """Each slider pushes the other before it, so the one that moves away from the other goes first."""
    page.evaluate(SLIDE, ["high", 1.0])
    page.evaluate(SLIDE, ["low", low])
    page.evaluate(SLIDE, ["high", high])


def roles_shown(page: Any) -> list[str]:
    """The roles on the map; a cell's colour must be its role's."""
    shown = page.evaluate(SHOWN)
    for role, color in shown:
        r, g, b = (int(ROLE_COLORS[role][i : i + 2], 16) for i in (1, 3, 5))
        assert color == f"rgb({r}, {g}, {b})"
    return [role for role, _ in shown]


def roles_of(roles: HeadRoles) -> list[str]:
    return [entry.role for entry in roles.entries]


@pytest.fixture
def mini(watch: Any, pages: dict[str, Path]) -> Any:
    return watch(reduced_motion="reduce").open(pages["mini"])


def test_it_opens_with_the_roles_of_the_file(mini: Any) -> None:
    assert roles_shown(mini) == roles_of(MADE["mini"].roles)
    assert mini.locator("#differ").inner_text() == "All roles are those of the role file."


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.01), (0.2, 0.5), (0.33, 0.34), (0.5, 1.0), (0.6, 0.7), (0.99, 1.0)])
def test_thresholds_recolour_as_assign_role_says(mini: Any, low: float, high: float) -> None:
    set_thresholds(mini, low, high)
    assert roles_shown(mini) == roles_of(rethresholded(MADE["mini"].roles, low, high))


def test_the_rule_against_chance_recolours_as_the_role_file_would(mini: Any) -> None:
    mini.check("input[value=null]")
    expected = roles_of(against_recorded_chance(MADE["mini"].roles))
    assert set(expected) == {"attribute", "other", "generalization", "mixed"}
    assert expected != roles_of(MADE["mini"].roles)
    assert roles_shown(mini) == expected
    assert mini.locator("#low").is_disabled()


def test_the_file_is_one_click_away(mini: Any) -> None:
    set_thresholds(mini, 0.1, 0.2)
    assert roles_shown(mini) != roles_of(MADE["mini"].roles)
    mini.click("#reset")
    assert roles_shown(mini) == roles_of(MADE["mini"].roles)


def groups_open(may_attend: Any, n_original: int) -> list[list[Any]]:
    """The mask of one head with all patches as one group, which they are."""
    at = [0, 1, *range(n_original, len(may_attend))]
    return [[q, k, bool(may_attend[at[q], at[k]])] for q in range(len(at)) for k in range(len(at))]


@pytest.mark.parametrize("name", ["mini", "paper"])
@pytest.mark.parametrize("routing", ["printed", "exclusive"])
@pytest.mark.parametrize("thresholds", [(0.5, 0.75), (0.2, 0.9)])
def test_masks_are_those_of_the_library(
    watch: Any, pages: dict[str, Path], name: str, routing: str, thresholds: tuple[float, float]
) -> None:
    page = watch().open(pages[name])
    page.check(f"input[value={routing}]")
    set_thresholds(page, *thresholds)
    roles = rethresholded(MADE[name].roles, *thresholds)
    for layer in range(9, 13):
        page.check(f"#layers input[value='{layer}']")
        masks = layer_mask(roles, layer, 10, MADE[name].facts.tokens_per_attribute, routing)
        assert page.evaluate(OPEN) == [groups_open(mask, 10) for mask in masks]


def test_the_routing_changes_attribute_heads_and_neighbours_alone(mini: Any) -> None:
    printed, found = mini.evaluate(OPEN), mini.locator("#neighbours").inner_html()
    mini.check("input[value=exclusive]")
    exclusive = mini.evaluate(OPEN)
    for role, before, after in zip(roles_shown(mini)[:12], printed, exclusive, strict=True):
        assert (before != after) == (role == "attribute")
    assert mini.locator("#neighbours").inner_html() != found


def test_arrow_keys_walk_over_the_map_and_stop_at_its_edges(mini: Any) -> None:
    mini.focus("#map .cell[tabindex='0']")
    title = mini.locator("#head-title")
    for key, head in WALK:
        mini.keyboard.press(key)
        assert title.evaluate("t => t.firstChild.textContent") == head
        assert mini.evaluate("document.activeElement.getAttribute('aria-label')").startswith(f"{head}:")
    assert mini.evaluate("location.hash") == "#L12H0"


def test_the_keyboard_reaches_everything(mini: Any) -> None:
    reached = set()
    for _ in range(80):
        mini.keyboard.press("Tab")
        what = mini.evaluate("(() => { const e = document.activeElement; return e.id || e.name || e.className || e.parentElement.id; })()")
        reached.add(what)
    assert {"theme", "cell", "rule", "low", "high", "reset", "layer", "routing", "mask-small", "queries"} <= reached


def test_a_slider_moves_by_the_keyboard_and_says_so(mini: Any) -> None:
    mini.focus("#low")
    mini.keyboard.press("ArrowLeft")
    assert roles_shown(mini) == roles_of(rethresholded(MADE["mini"].roles, 0.49, 0.75))
    assert mini.locator("#low").get_attribute("aria-valuetext").startswith("0.49 of log2 k")


def test_an_address_names_a_head(watch: Any, pages: dict[str, Path]) -> None:
    page = watch().open(pages["mini"], "#L11H7")
    assert page.locator(".cell[aria-selected='true']").get_attribute("aria-label").startswith("L11 H7:")


def test_a_head_shows_its_own_phrases_and_pictures(watch: Any, pages: dict[str, Path]) -> None:
    page = watch().open(pages["mini"], "#L10H4")
    entry, known = MADE["mini"].roles.at(10, 4), MADE["mini"].heads[16]
    assert page.locator("#phrases li > span:first-child").all_inner_texts() == list(entry.phrases)
    shown = page.evaluate("[...document.querySelectorAll('#pictures img')].map((i) => i.alt)")
    assert shown == [MADE["mini"].pictures[i].caption for i in (*known.most, *known.least)]
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")


def test_what_the_paper_profile_does_not_know_is_said_and_not_drawn(watch: Any, pages: dict[str, Path]) -> None:
    page = watch().open(pages["paper"])
    assert "Not in this file" in page.locator("#effects").inner_text()
    assert page.locator("#neighbours-title").is_hidden()


@pytest.mark.parametrize("name", ["mini", "paper"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_scrolls_sideways(watch: Any, pages: dict[str, Path], name: str, width: int) -> None:
    watched = watch(viewport={"width": width, "height": 800})
    watched.open(pages[name])
    assert not watched.wide()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(watch: Any, pages: dict[str, Path], scheme: str) -> None:
    page = watch(color_scheme=scheme).open(pages["mini"])
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = {"light": "rgb(251, 250, 247)", "dark": "rgb(22, 24, 28)"}
    assert page.evaluate(ground) == dark[scheme]
    page.click("#theme")
    assert page.evaluate(ground) == dark["dark" if scheme == "light" else "light"]


def test_landmarks_and_names_for_a_screen_reader(mini: Any) -> None:
    for role in ("banner", "main", "contentinfo", "navigation"):
        assert mini.get_by_role(role).count() == 1
    assert mini.get_by_role("grid", name="The map").get_by_role("gridcell").count() == 48
    assert mini.evaluate("[...document.querySelectorAll('svg[role=img]')].every((s) => s.getAttribute('aria-label'))")
    assert mini.evaluate("[...document.querySelectorAll('input')].every((i) => i.labels.length === 1)")
