"""A training set of real and synthetic images, as `zdd data synthesise` makes it."""

import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from zdd import files
from zdd.data.audit import tell
from zdd.data.look import processors
from zdd.data.parents import parents
from zdd.data.synthesis import perlin, regions, sheet, template
from zdd.data.synthesis.folder import (
    IMAGES,
    MARK,
    MASKS,
    OURS,
    README,
    SAMPLES,
    TABLE,
    Row,
    making,
    path_from,
    spare,
    write_table,
)
from zdd.data.synthesis.folder import mistakes as place_mistakes
from zdd.data.synthesis.job import Job, Make, Style
from zdd.data.synthesis.picture import read_mask, save, save_mask
from zdd.data.synthesis.plan import Plan, made_classes, plan
from zdd.data.synthesis.real import Real, load
from zdd.data.synthesis.wish import Generator, Wish
from zdd.errors import ZddError
from zdd.records import SPLITS

VERSION = 1  # raise when the same wish gives other pictures than before
MAKERS: dict[Generator, Make] = {"regions": regions.make, "perlin": perlin.make}

_README = """# A training set with synthetic images

Made by `zdd data synthesise`, generator `{generator}`, seed {seed}, from the real images below `{root}`.

| split | class | real | synthetic |
|---|---|---|---|
{table}

| file | what it is |
|---|---|
| `{csv}` | image, label, mask, group, split and parent of every image; real ones are where they were |
| `{images}/`, `{masks}/` | the synthetic images, named <split>_<class>_<number>, and their defective pixels (255) |
| `{samples}` | some of them |
| `{mark}` | how the set was made |

The real images were split before anything was made. Only training images are parents of synthetic ones (column
parent). {spent} real images are in no split any more, since synthetic validation or test images were made from them or
from the same part; {left_out} more were left out for the wanted share of synthetic images. zdd refuses to train where
an image and a parent of it, or two images made from one, are in different splits.

Read it with: {{"dataset": {{"name": "csv", "root": "{out}"{more}}}}}
"""


def synthesise(wish: Wish) -> dict[str, Any]:
    """Make a training set: real images in their splits, and synthetic ones made from the training images alone.

    The same wish gives the same files, for any number of processes and the same versions of numpy, scipy and Pillow.

    Returns:
        out, counts by split and class, n_real, n_synthetic, n_spent, n_left_out, took_s.

    Raises:
        ZddError: If the wish can't be right, the folder is not ours to replace, or there are too few images.
    """
    started = time.monotonic()
    wish.check()
    _check_place(wish)
    real = load(wish.dataset)
    spare(wish.out, (path for one in real.found for path in (one.path, one.mask, *parents(one.parent)) if path))
    planned = plan(wish, real, _usable(wish, real))
    _tell(wish, planned)
    with making(wish.out, below=(IMAGES, MASKS)) as folder:
        rows = _real_rows(wish, real, planned, folder)
        rows += _make(wish, planned.jobs, folder)
        facts = _describe(wish, real, planned, rows, folder)
    return {"out": str(wish.out), **facts, "took_s": round(time.monotonic() - started, 1)}


def _check_place(wish: Wish) -> None:
    """Before hours of work."""
    if wrong := place_mistakes(wish.out, MARK, OURS):
        raise ZddError(*wrong)
    for _, path in wish.style.templates:
        if not path.is_file():
            raise ZddError(f"--template {path}: there is no such file")
        template.load(path)


def _usable(wish: Wish, real: Real) -> list[bool]:
    """Of each real image, whether something can be made from it; people hear of those that can't be used."""
    made = made_classes(wish, real)
    if wish.generator == "perlin":
        return [one.class_name == real.good for one in real.found]
    rows = [i for i in real.rows if real.found[i].split == "train" and real.found[i].class_name in (*made, real.good)]
    with ThreadPoolExecutor(processors()) as pool:
        look = partial(_look, wish.style, real.good)
        found = list(
            _shown(pool.map(look, (real.found[i] for i in rows)), len(rows), "looking for what can be cut out")
        )
    reasons = dict(zip(rows, found, strict=True))
    count = Counter((real.found[i].class_name, why) for i, why in reasons.items() if why)
    some = {real.found[i].class_name for i, why in reasons.items() if not why}  # of the others more is said later
    known = {key: n for key, n in count.items() if key[0] in some}
    tell([f"{n} of the images of '{name}' can't be cut from: {why}" for (name, why), n in known.items()])
    return [reasons.get(i) == "" for i in real.rows]


def _look(style: Style, good: str | None, one: Any) -> str:
    return regions.unusable(one, style, is_good=one.class_name == good)


def _tell(wish: Wish, planned: Plan) -> None:
    if planned.spent:
        what = " and ".join(name for name, n in (("validation", wish.val), ("test", wish.test)) if n)
        tell([f"{len(planned.spent)} training images are spent: synthetic {what} images are made from their parts"])
    if planned.left_out:
        tell([f"{len(planned.left_out)} real images are left out, for the wanted share of synthetic ones"])


def _real_rows(wish: Wish, real: Real, planned: Plan, folder: Path) -> list[Row]:
    out = wish.out.absolute()
    rows = []
    for i in planned.kept:
        one = real.found[i]
        mask = path_from(out, one.mask) if one.mask else ""
        if one.mask and one.value is not None:  # a number for each class: the table's source knows marked or not
            mask = f"{MASKS}/real_{i:06d}.png"
            save_mask(read_mask(one), folder / mask)
        parent = ";".join(path_from(out, path) for path in parents(one.parent))
        rows.append(Row(path_from(out, one.path), one.class_name, mask, one.group, str(one.split), parent))
    return rows


def _make(wish: Wish, jobs: Sequence[Job], folder: Path) -> list[Row]:
    work = partial(_one, folder, wish.out.absolute(), wish.generator, wish.style)
    n = wish.processes if wish.processes is not None else min(processors(), len(jobs) // 16)  # few: sooner made alone
    title = f"making {len(jobs)} images"
    if n <= 1:
        return list(_shown(map(work, jobs), len(jobs), title))
    # spawn: the progress bar's thread must not be forked
    with ProcessPoolExecutor(n, multiprocessing.get_context("spawn")) as pool:
        return list(_shown(pool.map(work, jobs, chunksize=4), len(jobs), title))


def _one(folder: Path, out: Path, generator: Generator, style: Style, job: Job) -> Row:
    made = MAKERS[generator](job, style)
    image = f"{IMAGES}/{job.name}{made.picture.ending}"
    save(made.picture, folder / image)
    mask = "" if made.mask is None else f"{MASKS}/{job.name}.png"
    if made.mask is not None:
        save_mask(made.mask, folder / mask)
    parent = ";".join(path_from(out, path) for path in made.parents)
    group = job.source.group or f"made from {path_from(out, job.source.path)}"  # what shows one defect is one part
    return Row(image, job.class_name, mask, group, job.split, parent)


def _describe(wish: Wish, real: Real, planned: Plan, rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Write the table, the samples and what was done; and give its figures."""
    write_table(folder / TABLE, rows)
    n_real = sum(not row.parent for row in rows)  # some of what is there may be synthetic already
    counts: dict[str, dict[str, dict[str, int]]] = {split: {} for split in SPLITS}
    for row in rows:
        of = counts[row.split].setdefault(row.label, {"real": 0, "synthetic": 0})
        of["synthetic" if row.parent else "real"] += 1
    facts = {
        "counts": counts, "n_real": n_real, "n_synthetic": len(rows) - n_real, "n_spent": len(planned.spent),
        "n_left_out": len(planned.left_out),
    }  # fmt: skip
    asked = {**asdict(wish), "out": None, "processes": None, "dataset": wish.dataset.model_dump()}
    asked["style"]["templates"] = [[name, str(path)] for name, path in wish.style.templates]
    gone = {"spent": [real.names[i] for i in planned.spent], "left_out": [real.names[i] for i in planned.left_out]}
    said = {name: value for name, value in asked.items() if name not in ("out", "processes")}
    files.write_json(folder / MARK, {"made_by": "zdd data synthesise", "version": VERSION, **said, **facts, **gone})
    _write_readme(wish, facts, folder)
    _write_samples(rows[len(planned.kept) :], folder)
    return facts


def _write_readme(wish: Wish, facts: dict[str, Any], folder: Path) -> None:
    lines = [
        f"| {split} | {name} | {n['real']} | {n['synthetic']} |"
        for split, of in facts["counts"].items()
        for name, n in of.items()
    ]
    more = "" if wish.dataset.mirror_safe else ', "mirror_safe": false'
    good = wish.dataset.good_class
    more += "" if good == "auto" else f', "good_class": {"null" if good is None else chr(34) + good + chr(34)}'
    text = _README.format(
        generator=wish.generator, seed=wish.seed, root=wish.dataset.root, table="\n".join(lines), csv=TABLE,
        images=IMAGES, masks=MASKS, samples=SAMPLES, mark=MARK, spent=facts["n_spent"],
        left_out=facts["n_left_out"], out=wish.out, more=more,
    )  # fmt: skip
    files.write_text(folder / README, text)


def _write_samples(rows: Sequence[Row], folder: Path) -> None:
    of: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of[f"{row.split}: {row.label}"].append(row)
    lines = [
        (title, [(folder / row.image, folder / row.mask if row.mask else None) for row in some[: sheet.ACROSS]])
        for title, some in of.items()
    ]
    sheet.draw(lines).save(folder / SAMPLES)


def _shown(work: Iterator[Any], total: int, title: str) -> Iterator[Any]:
    """The same, with a progress bar for people."""
    console = Console(stderr=True)
    yield from track(work, title, total, console=console, transient=True, disable=not console.is_terminal)
