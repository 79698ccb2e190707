"""The command `dearlib`: one program for all that the Makefile's targets and the Snakefile call.

Every user error is one line on the standard error and exit status 2. What a command does is imported when it is called, so
that `dearlib --help` answers at once.
"""

import os
import sys
from concurrent.futures.process import BrokenProcessPool
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from dearlib.errors import InputError, refused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="DeAR: roles of attention heads, masks, training, tables.",
)


class Classes(StrEnum):
    """Which classes of a data set."""

    all = "all"
    base = "base"
    novel = "novel"


Profile = Annotated[str, typer.Option(help="Folder of params/.")]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Data root, in place of the profile's.")]
Cores = Annotated[int, typer.Option(min=0, help="Steps at once; each computes with one thread. 0: as many as this machine has room for.")]
BUILT = Path("build/assignments")
Masters = Annotated[list[Path] | None, typer.Argument(metavar="[MASTER.py]...", help="All of notebooks/assignments if left out.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", "-p", metavar="KEY=VALUE", help="Replace one value of the parameters.")]

Methods = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Of the other methods this one alone; may be given several times.")]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status; the one place where a user error becomes a line and a status."""
    words = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    for stream in (sys.stdout, sys.stderr):  # a terminal of Latin-1 or ASCII has no ≤ and no …: it gets their escapes
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(args=words or ["--help"], prog_name="dearlib", standalone_mode=False)
        if sys.stdout:  # None if it was closed
            sys.stdout.flush()  # what cannot be printed fails here, not in words of Python's own at the very end
    except TyperException as error:  # a mistyped command or option
        where = getattr(getattr(error, "ctx", None), "command_path", "dearlib")
        return _refused(f"{error.format_message().rstrip('.')}; see `{where} --help`")
    except InputError as error:
        return _refused(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _silence()
        return 1
    except OSError as error:  # what no command has a better line for
        line = refused(error)
        if line is None:
            raise
        if error.filename is None:
            _silence()
        return _refused(str(line))
    except BrokenProcessPool:
        return _refused("expected processes that live to their end, got one that was killed; not enough memory? try --cores 1")
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return int(status or 0)


def _open_streams() -> None:
    """A closed stream leads nowhere: else its number goes to the next file that is opened, and programs that are started print there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _refused(line: str) -> int:
    print(f"dearlib: {line}", file=sys.stderr)
    return 2


def _silence() -> None:
    """What is still to be printed goes nowhere: Python would try it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def reproduce(
    profile: Profile = "mini",
    only: Annotated[str | None, typer.Option(metavar="NAME", help="One table or figure, such as table5, and what it needs.")] = None,
    data: Data = None,
    cores: Cores = 0,
    executor: Annotated[str, typer.Option(help="local, or a folder of profiles/: slurm makes each step a job.")] = "local",
    plan: Annotated[bool, typer.Option("--plan", help="Say what would run and why; run nothing.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a report on what has run; run nothing.")] = None,
    methods: Methods = None,
) -> None:
    """Run everything of a profile that is missing or out of date, and draw its tables."""
    from dearlib.workflow.reproduce import reproduce as run

    raise typer.Exit(run(profile, only=only, data=data, cores=cores, executor=executor, plan=plan, report=report, methods=methods or []))


@app.command()
def figures(profile: Profile = "mini", cores: Cores = 0) -> None:
    """Draw every table and figure anew from the records that lie beside them; nothing is trained."""
    from dearlib.workflow.redraw import redraw

    raise typer.Exit(redraw(profile, cores))


@app.command()
def run(profile: str, group: str, dataset: str, overrides: Overrides = None, methods: Methods = None) -> None:
    """Make the record of one group of the study on one data set."""
    from dearlib.workflow.group import make_record

    raise typer.Exit(make_record(profile, group, dataset, overrides or [], methods or []))


@app.command()
def notebook(
    path: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="notebooks/NN_name.py")],
    params: Annotated[Path, typer.Argument(metavar="PARAMS", help="params/PROFILE/NN_name.yaml; the profile's values stand beneath it.")],
    out: Annotated[Path, typer.Option(help="Folder of the executed notebook.")],
    overrides: Overrides = None,
    update_pair: Annotated[bool, typer.Option("--update-pair", help="Write the outputs to the notebook's committed .ipynb.")] = False,
) -> None:
    """Run one notebook by papermill, its parameters checked before anything is written."""
    from dearlib.workflow.runner import run_notebook

    raise typer.Exit(run_notebook(path, params, out, overrides or [], update_pair))


@app.command()
def pairs(profile: Profile = "mini") -> None:
    """Keep the outputs of the last runs in the notebooks' .ipynb files."""
    from dearlib.workflow.pairs import keep_outputs

    raise typer.Exit(keep_outputs(profile))


@app.command()
def compare(
    committed: Annotated[Path, typer.Argument(help="A folder of figures.")],
    fresh: Annotated[Path, typer.Argument(help="Another.")],
    tolerance: Annotated[Path | None, typer.Option(metavar="FILE", help="For what is trained; rounding if left out.")] = None,
) -> None:
    """Compare the numbers behind two folders of tables; without a tolerance all files, drawn from the same records."""
    from dearlib.workflow.compare import compare_folders

    raise typer.Exit(compare_folders(committed, fresh, tolerance))


@app.command()
def check(
    profile: Profile = "mini",
    minutes: Annotated[float, typer.Option(min=0, help="Of work, by the records' own times.")] = 10.0,
    seed: Annotated[str | None, typer.Option(metavar="TEXT", help="Which records: others for each; the commit if left out.")] = None,
    cores: Cores = 0,
) -> None:
    """Make a sample of the committed records anew and hold it against them."""
    from dearlib.workflow.check import check as hold

    raise typer.Exit(hold(profile, minutes, seed, cores))


@app.command()
def fetch(profile: Profile = "paper") -> None:
    """Download the weights and phrases that a profile names: the one command that needs a network."""
    from dearlib.workflow.inputs import check_models, load_profile

    for line in check_models(load_profile(profile)):
        print(line)


@app.command()
def doctor(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the public data sets.")],
    needs: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only what one table or figure needs.")] = None,
    open_all: Annotated[bool, typer.Option("--open", help="Open every picture, to find corrupt ones.")] = False,
    fetch: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Download what torchvision can.")] = None,
) -> None:
    """Say which public data sets lie whole under a folder, and where to get the others."""
    from dearlib.datasets.commands import print_reports

    raise typer.Exit(print_reports(data, needs or [], open_all, fetch or []))


@app.command()
def sample(
    split: Annotated[Path, typer.Argument(metavar="SPLIT.json", help="A split file of the community's layout.")],
    shots: Annotated[int, typer.Option(help="Pictures a class.")],
    seed: Annotated[int, typer.Option(min=0, help="1, 2 and 3 are the community's.")],
    classes: Annotated[Classes, typer.Option(help="Drawn from all, then kept.")] = Classes.all,
) -> None:
    """Print a few-shot sample, as published: training paths, one a line, in order."""
    from dearlib.datasets.commands import print_sample

    raise typer.Exit(print_sample(split, shots, seed, classes.value))


@app.command()
def world(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The data root: one folder for each data set.")],
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Of these alone; all if left out.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="That render at once.")] = 1,
) -> None:
    """Render the data sets of the Attribute World that are not there yet."""
    from dearlib.datasets.world import sets
    from dearlib.datasets.world.writing import write_all

    names = only or list(sets.NAMES)
    written = write_all(out, names, processes)
    print(f"{out}: {len(names)} data sets, {written} written now, {len(names) - written} there already")


@app.command()
def tune(
    profile: Profile = "mini",
    cores: Cores = 0,
    all_methods: Annotated[bool, typer.Option("--all-methods", help="As many trials for every method, into tuning_methods.csv.")] = False,
) -> None:
    """Choose hyper-parameters on validation pictures, into params/PROFILE/tuning.csv."""
    from dearlib.study import fair, tuning

    raise typer.Exit((fair if all_methods else tuning).tune(profile, cores))


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="An open_clip model; its weights are random.")] = "ViT-B-16",
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    figures: Annotated[Path, typer.Option(help="Goes to FIGURES/<hardware>/bench.csv.")] = Path("figures"),
) -> None:
    """Time training at the paper's size beside the plain way."""
    from dearlib.bench.command import bench as measure

    raise typer.Exit(measure(model, repeats, figures))


@app.command()
def site(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The site's folder; an older site in it is replaced.")] = Path("site"),
) -> None:
    """Build the site from the committed notebooks, docs and figures; nothing is executed."""
    from dearlib.params.reading import repository
    from dearlib.site.build import build

    root = repository(Path.cwd())
    size = build(root, out, root / "cache" / "site")
    print(f"{out / 'index.html'}: {size / 1e6:.1f} MB")


@app.command()
def assignments(masters: Masters = None, out: Annotated[Path, typer.Option(metavar="DIR")] = BUILT) -> None:
    """Build the students' and the grader's versions of the course's masters."""
    from dearlib.teach.commands import make_assignments

    raise typer.Exit(make_assignments(masters or [], out))


@app.command()
def masters(masters: Masters = None) -> None:
    """Run the course's masters with their solutions and keep the outputs in their .ipynb."""
    from dearlib.teach.commands import keep_masters

    raise typer.Exit(keep_masters(masters or []))


@app.command()
def grade(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="One .ipynb, .zip or folder a student.")],
    out: Annotated[Path, typer.Option(metavar="GRADES.csv")],
    built: Annotated[Path, typer.Option(metavar="DIR", help="What `assignments` built.")] = BUILT,
    assignment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Such as 01_vit_heads; what the submissions say if left out.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="For each submission.")] = 45.0,
    without_sandbox: Annotated[bool, typer.Option("--without-sandbox", help="As you, with limits alone: only what you have read.")] = False,
) -> None:
    """Grade a folder of submissions."""
    from dearlib.teach.commands import grade_folder

    raise typer.Exit(grade_folder(folder, built, out, assignment, seconds, not without_sandbox))


if __name__ == "__main__":
    sys.exit(main())
