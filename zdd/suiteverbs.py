"""What `zdd suite` does on the command line. What it needs is imported when it runs."""

from __future__ import annotations

from argparse import Namespace as Args
from pathlib import Path

from zdd import tables
from zdd.errors import ZddError
from zdd.verb import Result, Verb, argument


def suite(args: Args) -> Result:
    """Run suites one after another, then the experiments among what was named, as one more."""
    from zdd.suite import form, plan

    wish = plan.Wish(args.runs, args.fast, args.n_runs, tuple(args.only), args.data, tuple(args.set))
    paths = [form.find(name) for name in args.suites]
    suites = list({path.resolve(): path for path in paths if form.is_suite(path)}.values())
    single = [path for path in paths if not form.is_suite(path)]
    if single and (args.fast or args.only or args.data):
        raise ZddError(f"{single[0]}: is an experiment and no suite; --fast, --only and --data are for suites")
    planned = [(plan.plan(path, wish), False) for path in suites]
    if twice := [path for path in suites if [one.stem for one in suites].count(path.stem) > 1]:
        raise ZddError(f"{' and '.join(map(str, twice))}: two suites of this name; rename one")
    planned += [(plan.queue(single, wish), True)] if single else []
    from zdd.suite import run

    done = {one.name: run.run(one, args.runs, jobs=args.jobs, queued=queued) for one, queued in planned}
    for name, result in done.items():
        tables.say(f"{name}: {result['tables'][1]}")
    failed = {f"{name}/{cell}": why for name, result in done.items() for cell, why in result["failed"].items()}
    for cell, why in failed.items():
        tables.say(f"failed: {cell}: {why}")
    return {"suites": done, "failed": failed}


SUITE = Verb(
    "Run grids of experiments: tables with intervals, plots, and what differs from the baseline.",
    suite,
    (
        argument("suites", "files, or names in experiments/suites/ or experiments/", metavar="SUITE", nargs="+"),
        argument("--n_runs", "seeds of each cell (the suite's own number; of experiments 1)", type=int, metavar="N"),
        argument("--fast", "its small form: minutes, to see that all works", action="store_true"),
        argument("--jobs", "cells side by side (1)", type=int, default=1, metavar="N"),
        argument("--only", "these parts alone", nargs="+", default=[], metavar="PART"),
        argument("--data", "a folder, a table or an experiment's set, in place of the drawn one", metavar="ROOT"),
        argument("--set", "a setting of every cell", action="append", default=[], metavar="KEY=VALUE"),
        argument("--runs", "where runs are kept (runs/)", type=Path, metavar="DIR", default=Path("runs")),
    ),
    (
        "experiment_1 --fast",
        "experiment_2 --n_runs 3 --jobs 2",
        "experiment_1 --only 1a --data data/casting_cls",
        "casting_mobilenet.json casting_luna.json casting_squeezenet.json",
    ),
    note=(
        "A suite that was stopped goes on where it was with the same command. Exit code 1: something failed, all else "
        "is done."
    ),
)
