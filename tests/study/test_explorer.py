"""The explorer file: what it refuses, what it leaves out, and which pictures it takes."""

from pathlib import Path

import pytest
import torch
from explorer_example import example, square
from pydantic import ValidationError

from dearlib.errors import InputError
from dearlib.study.explorer import Explorer, HeadPage
from dearlib.study.explorer_parts import explore, towards, with_neighbours


@pytest.fixture(scope="module")
def made() -> Explorer:
    return example()


def test_it_comes_back_as_it_was_saved(made: Explorer, tmp_path: Path) -> None:
    made.save(tmp_path / "explorer.json")
    assert Explorer.load(tmp_path / "explorer.json") == made


def test_what_was_not_measured_is_absent_and_not_zero() -> None:
    bare = example(factors=False)
    assert all(head.effects is None for head in bare.heads)
    assert bare.neighbours == ()
    assert '"effects"' not in bare.model_dump_json(exclude_none=True)


def test_chance_is_taken_from_the_role_file_by_number_of_phrases(made: Explorer) -> None:
    kept = made.roles.settings["null_quantiles"]
    assert len(kept) > 1
    for entry, head in zip(made.roles.entries, made.heads, strict=True):
        assert head.null is not None
        assert [head.null.q05, head.null.q50] == kept[str(len(entry.phrases))]


def test_a_head_without_a_null_for_its_length_is_refused(made: Explorer) -> None:
    kept = dict(list(made.roles.settings["null_quantiles"].items())[:1])
    roles = made.roles.model_copy(update={"settings": {"null_quantiles": kept}})
    with pytest.raises(InputError, match="expected a null for"):
        explore(roles, made.facts, concepts_of(made))


def concepts_of(made: Explorer) -> dict[str, str]:
    return {
        phrase: concept
        for entry, head in zip(made.roles.entries, made.heads, strict=True)
        for phrase, concept in zip(entry.phrases, head.concepts, strict=True)
    }


def test_pictures_are_those_of_the_largest_and_smallest_response(made: Explorer) -> None:
    response = torch.zeros(48, 10)
    response[:, 3], response[:, 7], response[:, 1], response[:, 5] = 2.0, 1.0, -2.0, -1.0
    found = explore(made.roles, made.facts, concepts_of(made), response=response, picture=square, shown=2)
    names = [picture.name for picture in found.pictures]
    assert [names[i] for i in found.heads[0].most] == ["drawn/3", "drawn/7"]
    assert [names[i] for i in found.heads[0].least] == ["drawn/1", "drawn/5"]
    assert len(names) == 4  # every picture once, however many heads show it


def test_more_than_half_of_the_pictures_cannot_be_shown_at_both_ends(made: Explorer) -> None:
    """A picture would be among the largest and the smallest."""
    response = torch.arange(10.0).expand(48, -1)
    found = explore(made.roles, made.facts, concepts_of(made), response=response, picture=square, shown=5)
    assert not set(found.heads[0].most) & set(found.heads[0].least)
    for shown in (0, 6):
        with pytest.raises(InputError, match=rf"shown: expected 1 to 5 \(half of the pictures\), got {shown}"):
            explore(made.roles, made.facts, concepts_of(made), response=response, picture=square, shown=shown)


def test_layers_count_from_1_and_heads_from_0() -> None:
    assert HeadPage(layer=1, head=0, concepts=()).layer == 1
    for layer, head in ((0, 0), (1, -1)):
        with pytest.raises(ValidationError):
            HeadPage(layer=layer, head=head, concepts=())


def test_towards_is_the_centred_projection_on_the_first_phrase() -> None:
    contributions = torch.tensor([[[1.0, 5.0], [3.0, -5.0]]])  # one head, two pictures
    pushed = towards(contributions, torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(pushed, torch.tensor([[-1.0, 1.0]]))


def test_numbers_for_another_count_of_heads_are_refused(made: Explorer) -> None:
    with pytest.raises(InputError, match="expected numbers for 48 heads, got them for 47"):
        explore(made.roles, made.facts, concepts_of(made), shares=torch.zeros(47, 8))


def test_shared_says_yes_no_and_unknown(made: Explorer) -> None:
    near = torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    labels = {"color": torch.tensor([4, 4, 1, -1])}
    asked = with_neighbours(made, {("printed", "color"): near, ("printed", "shape"): near}, [0, 3], labels, square)
    verdicts = {(n.token, asked.pictures[n.query].name): n.shared for n in asked.neighbours}
    assert verdicts["color", "drawn/0"] == (True, False, None)
    assert verdicts["color", "drawn/3"] == (None, None, None)  # the query itself has no color
    assert verdicts["shape", "drawn/0"] == (None, None, None)  # a token without labels
    assert len({picture.name for picture in asked.pictures}) == len(asked.pictures)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": "short"}, "expected those of the role file"),
        ({"concepts": ("color",)}, "expected a concept and a share for each"),
        ({"concepts": "unknown"}, "expected concepts of the role file"),
        ({"most": (99999,)}, "expected numbers 0 to"),
        ({"loss": None}, "expected what the effects count"),
        ({"null": {"q05": float("nan"), "q50": 1.0}}, "finite"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(made: Explorer, change: dict, message: str) -> None:
    content = made.model_dump()
    heads = [dict(head) for head in content["heads"]]
    if change.get("heads") == "short":
        heads = heads[:-1]
    elif "loss" in change:
        content["facts"] |= change
    elif change.get("concepts") == "unknown":
        heads[0]["concepts"] = ("nothing",) * len(heads[0]["concepts"])
    else:
        heads[0] |= change
    with pytest.raises(ValidationError, match=message):
        Explorer.model_validate(content | {"heads": tuple(heads)})


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "explorer.json").write_text('{"version": 2}')
    with pytest.raises(InputError) as told:
        Explorer.load(tmp_path / "explorer.json")
    assert "\n" not in str(told.value)
