"""Parameter files: every profile's files are valid, and every kind of mistake is one line that says what to mend."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dearlib.errors import InputError
from dearlib.params import reading, yaml12
from dearlib.params import schemas as params
from dearlib.params.types import plain

ROOT = Path(__file__).parents[2]
MINI = ROOT / "params" / "mini"
TRAINING = MINI / "05_training.yaml"


def whole(folder: Path) -> Path:
    """All that notebook 05 is told in the mini profile, in one file beside no profile."""
    path = folder / "05_training.yaml"
    values = plain(reading.load_params("05_training", TRAINING))
    del values["per_dataset"]
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "params").rglob("*.yaml")), ids=lambda p: "-".join(p.parts[-3:]))
def test_readers_of_yaml_1_1_and_1_2_read_the_same(path: Path) -> None:
    """papermill's reader among them: it takes 1e-3 for a word, and `no`, 012 and 1:30 for what nobody meant."""
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == yaml12.read_yaml(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"\xef\xbb\xbf" + whole(tmp_path).read_bytes())
    assert reading.load_params("05_training", tmp_path / "p.yaml") == reading.load_params("05_training", TRAINING)


@settings(max_examples=200, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=60),
        st.text("abn:[]{}!&*?-|>#'\"\n\t 10e.~,", max_size=60),
        st.from_regex(r"a: !(!(bool|int|float|timestamp|binary|set|omap|merge|str|map))? ?[{\[]?[a1:]{0,3}[}\]]?", fullmatch=True),
    )
)
def test_any_text_is_parameters_or_one_line(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(InputError) as caught:  # no text of sixty letters has a run's thirty keys
        reading.load_params("05_training", path)
    assert len(str(caught.value).splitlines()) == 1


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["cpu", "2 x cuda", "objects", "1e3"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(sorted(params.MODELS["05_training"].model_fields)), value=VALUES)
def test_any_value_of_any_key_is_kept_as_it_is_or_one_line(key: str, value: object) -> None:
    before = plain(reading.load_params("05_training", TRAINING))
    try:
        after = plain(reading.validated("05_training", {**before, key: value}))
    except InputError as error:
        told = str(error).splitlines()
    else:
        told = ["kept"]
        assert {k: v for k, v in after.items() if v != before[k]}.keys() <= {key, "per_dataset", *(after if key == "per_dataset" else ())}
    assert len(told) == 1


@pytest.mark.parametrize("notebook", params.MODELS)
def test_mini_files_are_valid_and_belong_together(notebook: str) -> None:
    loaded = reading.load_params(notebook, MINI / f"{notebook}.yaml")
    assert loaded.profile == "mini"
    assert (loaded.runs_root, loaded.figures_root) == (Path("runs/mini"), Path("figures/mini"))


def test_steps_agree_on_what_they_share() -> None:
    loaded = {n: plain(reading.load_params(n, MINI / f"{n}.yaml")) for n in params.MODELS}
    for key in ("clip", "clip_weights", "data_root", "first_layer", "roles", "tokens_per_attribute"):
        assert len({str(values[key]) for values in loaded.values() if key in values}) == 1, key
    for key in set(params.Tokens.model_fields) - set(params.OnClip.model_fields) - {"dataset"}:  # the lesson on training has a small one
        assert loaded["04_dear_model"][key] == loaded["05_training"][key], key


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ({"lrr": "1e-3"}, "lrr: expected lr, got an unknown key"),
        ({"lr": "fast"}, "lr: expected a valid number, got 'fast'"),
        ({"lr": "0"}, "lr: expected greater than 0, got 0"),
        ({"lr": ".inf"}, "lr: expected a valid number, got '.inf'"),
        ({"shots": "1.5"}, "shots: expected a valid integer, got 1.5"),
        ({"shots": "true"}, "shots: expected a valid integer, got True"),
        ({"shots": "null"}, "shots: expected a valid integer, got None"),
        ({"first_layer": "0"}, "first_layer: expected greater than or equal to 1, got 0"),
        ({"flip": "yes"}, "flip: expected a valid boolean, got 'yes'"),
        ({"beta": "1.01"}, "beta: expected less than or equal to 1, got 1.01"),
        ({"dataset": "../objects"}, "dataset: expected a name of letters, digits, '_', '-' and '.', got '../objects'"),
        ({"precision": "bf16"}, "precision: expected '32-true', 'bf16-mixed' or '16-mixed', got 'bf16'"),
        ({"seeds": "[1, 2, 1]"}, "seeds: expected distinct seeds, got [1, 2, 1]"),
        ({"seeds": "[]"}, "seeds: "),
        ({"crop_scale": "[1.0, 0.5]"}, "crop_scale: expected [smallest, largest] share, got [1.0, 0.5]"),
        ({"warmup_epochs": "20"}, "warmup_epochs: expected less than epochs = 10, got 20"),
        ({"clip_weights": "3"}, "clip_weights: expected a valid string, got 3"),
        ({"lr": "-1", "beta": "2"}, "(and 1 more)"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_expected_and_got(override: dict[str, str], line: str) -> None:
    with pytest.raises(InputError) as caught:
        reading.load_params("05_training", TRAINING, override)
    assert str(caught.value).startswith(f"{TRAINING}: ")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "expected `key: value` lines, got NoneType"),
        ("- 1", "expected `key: value` lines, got list"),
        ("a: [1", "in line 1"),
        ("a: 1\na: 2", "key a is given twice in line 1"),
        ("a: \x00", "expected YAML"),
        ("a: &x [1]\nb: *x", "an alias; write the value out in line 2"),
        ("a: &x [*x]", "an alias"),
        ("a: !!int word", "a tag, tag:yaml.org,2002:int; write the value alone in line 1"),
        ("a: !!bool word", "a tag"),
        ("a: !!timestamp word", "a tag"),
        ("a: !!set {x}", "a tag"),
        ("! a: 1", "a tag"),
        ("a: 1\n--- b: 2", "expected YAML"),
        ("a:\n\tb: 1", "expected YAML"),
        ("a: " + "1" * 5000, "expected YAML"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("? [1]\n: 2", "a key that is no word"),
        ("a: {1: b}", "a key that is no word, 1 in line 1"),
        ("a: !!python/object:os.system 1", "a tag"),
    ],
)
def test_a_file_that_is_no_parameter_file(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"p\.yaml: ") as caught:
        reading.load_params("05_training", path)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_a_missing_file_and_an_unknown_notebook(tmp_path: Path) -> None:
    values = yaml12.read_yaml(whole(tmp_path))
    del values["lr"]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match="lr: expected a value, got none"):
        reading.load_params("05_training", tmp_path / "p.yaml")
    with pytest.raises(InputError, match="expected a parameter file, got nothing there"):
        reading.load_params("05_training", tmp_path / "q.yaml")
    with pytest.raises(InputError, match="expected a notebook with parameters"):
        reading.load_params("99_nothing", TRAINING)


def test_thresholds_must_be_in_order() -> None:
    with pytest.raises(InputError, match=r"low: expected less than high = 0\.5, got 0\.5"):
        reading.load_params("02_head_roles", MINI / "02_head_roles.yaml", {"low": "0.5", "high": "0.5"})


@pytest.mark.parametrize("text", ["null", '"null"', "~"])
def test_the_rule_null_may_be_written_as_yamls_null(text: str) -> None:
    assert reading.load_params("02_head_roles", MINI / "02_head_roles.yaml", {"rule": text}).rule == "null"


def test_roles_are_never_read_from_test_pictures() -> None:
    with pytest.raises(InputError, match="part: expected 'train' or 'val', got 'test'"):
        reading.load_params("02_head_roles", MINI / "02_head_roles.yaml", {"part": "test"})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_way_python_writes_a_float_is_read_as_that_float(x: float) -> None:
    assert yaml12.parse(repr(x), "") == x
    assert yaml12.parse(f"{x:e}", "") == float(f"{x:e}")


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = "[1e-4, 5E3, 010, no, on, 12:30, 2026-01-01, true, ~, '1e-4']"
    assert yaml12.parse(text, "") == [1e-4, 5e3, 10, "no", "on", "12:30", "2026-01-01", True, None, "1e-4"]


def test_the_hash_knows_values_and_not_how_they_were_written(tmp_path: Path) -> None:
    loaded = reading.load_params("05_training", TRAINING)
    reordered = dict(reversed(list(plain(loaded).items())))
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(reordered, sort_keys=False))
    assert reading.params_hash(reading.load_params("05_training", tmp_path / "p.yaml")) == reading.params_hash(loaded)
    changed = reading.load_params("05_training", TRAINING, {"lr": "2e-3"})
    assert reading.params_hash(changed) != reading.params_hash(loaded)


def test_a_notebook_checks_its_own_cell_from_the_repositorys_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    cell = plain(reading.load_params("05_training", TRAINING))
    assert reading.validated("05_training", {**cell, "unrelated": object()}) == reading.load_params("05_training", TRAINING)
    assert Path.cwd() == tmp_path.resolve()
    with pytest.raises(InputError, match=r"notebooks/05_training\.py: lr: expected a valid number, got '1e-3'"):
        reading.validated("05_training", {**cell, "lr": "1e-3"})


def with_per_dataset(tmp_path: Path, lines: str) -> Path:
    path = whole(tmp_path)
    path.write_text(path.read_text() + f"per_dataset:\n{lines}")
    return path


def test_values_of_one_data_set_are_put_in_place(tmp_path: Path) -> None:
    path = with_per_dataset(tmp_path, "  imagenet: {batch: 32, epochs: 5}\n  dtd: {lr: 2e-3}\n")
    plain = reading.load_params("05_training", path)
    assert (plain.batch, plain.epochs, plain.lr, plain.per_dataset) == (4, 10, 1e-3, {})
    special = reading.load_params("05_training", path, {"dataset": "imagenet"})
    assert (special.batch, special.epochs, special.lr, special.per_dataset) == (32, 5, 1e-3, {})
    by_hand = reading.load_params("05_training", path, {"dataset": "imagenet", "epochs": "3"})
    assert (by_hand.batch, by_hand.epochs) == (32, 3), "what is given on the command line wins"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("  imagenet: {batches: 32}\n", "per_dataset.imagenet: batches: expected batch, got an unknown key"),
        ("  dtd: {}\n  imagenet: {batch: 0}\n", "per_dataset.imagenet: batch: expected greater than or equal to 1, got 0"),
        ("  imagenet: {epochs: 1}\n", "per_dataset.imagenet: warmup_epochs: expected less than epochs = 1, got 1"),
        ("  imagenet: {dataset: dtd}\n", "per_dataset.imagenet: expected {key: value} of a run's settings, got {'dataset': 'dtd'}"),
        ("  imagenet: 3\n", "per_dataset.imagenet: expected"),
    ],
)
def test_values_of_every_data_set_are_checked(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        reading.load_params("05_training", with_per_dataset(tmp_path, lines))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_wrong_without_them_is_told_without_them(tmp_path: Path) -> None:
    path = with_per_dataset(tmp_path, "  imagenet: {batch: 32}\n")
    path.write_text(path.read_text().replace("epochs: 10", "epochs: twenty"))
    with pytest.raises(InputError, match=r"yaml: epochs: expected"):
        reading.load_params("05_training", path)


def test_the_paper_profile_is_valid_and_says_where_each_value_is_from() -> None:
    folder = ROOT / "params" / "paper"
    steps = set(params.MODELS) - {"00_pretrain_mini", "13_performance", "14_cost"}
    assert {p.stem for p in folder.glob("[0-9]*.yaml")} <= steps
    shared: dict[str, set[str]] = {}
    for step in sorted(steps):
        loaded = plain(reading.load_params(step, folder / f"{step}.yaml"))
        assert (loaded["profile"], loaded["runs_root"], loaded["figures_root"]) == ("paper", "runs/paper", "figures/paper")
        for key in ("clip", "clip_weights", "data_root", "first_layer", "tokens_per_attribute", "text_tokens", "beta", "lr"):
            shared.setdefault(key, set()).add(str(loaded.get(key, "")))
    assert all(len(values - {""}) == 1 for values in shared.values()), shared
    head = (folder / "profile.yaml").read_text().split("profile:")[0]
    assert all(word in head for word in ("make reproduce PROFILE=paper DATA=DIR", "needs one GPU", "# Sources: "))


def test_imagenet_s_own_values_in_the_paper_profile() -> None:
    path = ROOT / "params" / "paper" / "05_training.yaml"
    dtd, imagenet = (plain(reading.load_params("05_training", path, {"dataset": name})) for name in ("dtd", "imagenet"))
    assert {k for k in dtd if dtd[k] != imagenet[k]} == {"dataset", "batch", "epochs", "views", "together"}
    assert (imagenet["batch"], imagenet["epochs"]) == (32, 5)


def test_overrides_are_split_at_the_first_sign_and_two_values_for_one_key_are_refused() -> None:
    assert reading.split_overrides(["a=1", "b=c=d", "e=", "a=1"]) == {"a": "1", "b": "c=d", "e": ""}
    with pytest.raises(InputError, match="-p a: expected one value, got 1 and 2; leave one out"):
        reading.split_overrides(["a=1", "a=2"])
    with pytest.raises(InputError, match="-p a: expected KEY=VALUE, got no '='"):
        reading.split_overrides(["a"])
