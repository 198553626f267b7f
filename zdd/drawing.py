"""Images drawn by a trained GAN, as a training set that names where each comes from: `zdd data gan RUN OUT`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from torch import Tensor
from torchvision.utils import make_grid

from zdd import features, files, likeness
from zdd.data import dataset as datasets
from zdd.data.dataset import Dataset
from zdd.data.parents import parents
from zdd.data.synthesis import folder as folders
from zdd.data.synthesis.folder import IMAGES, MARK, README, SAMPLES, TABLE, Row
from zdd.errors import ZddError
from zdd.evaluate import bar
from zdd.models.gan import Gan
from zdd.predict import one_run
from zdd.report.pictures import plain
from zdd.rundir import RunDir
from zdd.trained import Trained, load_trained

PARENTS = "parents"  # a folder of lists: what each class's images were learnt from
OURS = folders.OURS | {PARENTS}
BATCH = 16  # images drawn at a time, whatever is wished, so that the same seed draws the same bytes
SHOWN = 10  # of each class on the contact sheet
err = Console(stderr=True, highlight=False, soft_wrap=True)

_README = """# Images drawn by a GAN

{n_made} images of {classes}, {n_imgs} of each, drawn by `zdd data gan` from the run {run}, seed {seed}, beside the
{n_real} real images that the run was trained, validated and tested with, in the splits that they had there. Synthetic
images are training images, and no others: what a list in `parents/` names is what the generator learnt from.

| file | what it is |
|---|---|
| `{table}` | image, label, mask, group, split, parent: the source `csv` reads this folder |
| `images/<class>_<number>.png` | the synthetic images, {high} x {wide} pixels: the GAN's size; none has a mask |
| `parents/*.txt` | the training images that a generator learnt from, a path a line |
| `samples.png` | some of each class, to look at |
| `likeness.json`, `nearest.png` | how like the real images they are, and whether they repeat them |

Drawn again with: zdd data gan {run} {out} --n_imgs {n_imgs} --seed {seed}
"""


def draw(run: Path, out: Path, *, n_imgs: int = 50, seed: int = 0, network: str = "mobilenet_v2") -> dict[str, Any]:
    """Draw `n_imgs` images of each class into a folder that the source `csv` reads, the run's real images beside them.

    Args:
        run: A finished run of the method `gan`; of a group, its first.
        out: Folder to make; one that was made before is replaced.
        n_imgs: Of each class.
        seed: Of the latent numbers; the n-th image of a class is the same for every `n_imgs`.
        network: That the images are judged with, see `zdd.likeness.judge`.

    Returns:
        The folder, the numbers, and the judgement; `failed` is not empty where images repeat training images.

    Raises:
        ZddError: If the run is no GAN, its images changed, or a folder of someone else's is in the way.
    """
    if n_imgs < 1 or seed < 0:
        raise ZddError(f"--n_imgs {n_imgs}, --seed {seed}: there must be 1 image at least, and a seed of 0 or more")
    used = one_run(run)
    trained = load_trained(used, generative=True)
    dataset = datasets.load(used.data)
    records = dataset.records
    folders.spare(out, (p for one in records for p in (one.path, one.mask, *parents(one.parent)) if p))
    facts: dict[str, Any] = {"run": str(used.path), "n_imgs": n_imgs, "seed": seed}
    with folders.making(out, MARK, OURS, (IMAGES, PARENTS)) as made:
        rows = [*_real(dataset, out), *_drawn(trained, dataset, made, out, facts)]
        folders.write_table(made / TABLE, rows)
        _describe(made, out, trained, rows, facts)
    judged = _judged(out, network)
    result = {"out": str(out), **facts, "drawn": list(trained.task.classes), "failed": judged["failed"]}
    return {**result, "likeness": judged}


def _real(dataset: Dataset, out: Path) -> list[Row]:
    """The run's real images where they are, in its splits."""
    if dataset.mask_values:
        err.print("the run's masks hold a value a class, which a CSV table can't say: they are left out", markup=False)
    return [
        Row(
            folders.path_from(out, record.path),
            dataset.classes[record.label],
            "" if dataset.mask_values or not record.mask else folders.path_from(out, record.mask),
            record.group,
            str(record.split),
            _parent(out, record.parent),
        )
        for record in dataset.records
    ]


def _parent(out: Path, text: str) -> str:
    """What the run's own table says of a synthetic image's parents, from where the new table lies."""
    return ";".join(folders.path_from(out, part.strip()) for part in text.split(";") if part.strip())


def _drawn(trained: Trained, dataset: Dataset, made: Path, out: Path, facts: dict[str, Any]) -> list[Row]:
    """Draw, write images and lists of parents into `made`, which will be `out`."""
    n, rows = facts["n_imgs"], []
    lists = _lists(trained, dataset, made, out)
    frame = _frame(trained, dataset)
    numbers = [(label, number) for label in range(trained.task.n_classes) for number in range(n)]
    pixels = _pixels(cast(Gan, trained.model), numbers, facts["seed"])
    with bar() as progress:
        for (label, number), image in progress.track(
            zip(numbers, pixels, strict=True), total=len(numbers), description="drawing"
        ):
            name = trained.task.classes[label]
            row = Row(f"{IMAGES}/{plain(name)}_{number:05d}.png", name, split="train", parent=lists[label])
            picture = Image.fromarray(image)
            if trained.preprocess.channels == "gray":
                picture = picture.convert("L")
            picture.resize(frame[1], Image.Resampling.BILINEAR, box=frame[0]).save(made / row.image)
            rows.append(row)
    shown = [rows[label * n + number] for label in range(trained.task.n_classes) for number in range(min(n, SHOWN))]
    _sheet([made / row.image for row in shown], min(n, SHOWN)).save(made / SAMPLES)
    return rows


def _pixels(model: Gan, numbers: list[tuple[int, int]], seed: int) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) for each (class, number), whatever else is drawn."""
    model.eval()
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        latent = np.stack(
            [np.random.default_rng((seed, *each)).standard_normal(model.latent_size, np.float32) for each in part]
        )
        drawn = model.draw(torch.tensor([label for label, _ in part]), torch.from_numpy(latent))
        yield from (drawn * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _lists(trained: Trained, dataset: Dataset, made: Path, out: Path) -> list[str]:
    """For each class the list of what its generator learnt from; one list where one generator learnt from all."""
    single = trained.config.model.options["per_class"]
    lists = []
    for label, name in enumerate(dataset.classes):
        known = [record.path for record in dataset.split("train") if record.label == label or not single]
        path = f"{PARENTS}/{plain(name) if single else 'all'}.txt"
        lines = [folders.path_from(out / PARENTS, each) for each in known]
        (made / path).write_text("\n".join(lines) + "\n", encoding="utf-8")
        lists.append(path)
    return lists


Frame = tuple[tuple[float, float, float, float], tuple[int, int]]  # what of the GAN's image is a picture; its size


def _frame(trained: Trained, dataset: Dataset) -> Frame:
    """Without the padding, and in the shape that the training images had, where they have one and the same."""
    high, wide = trained.task.image_size
    whole: Frame = ((0, 0, wide, high), (wide, high))
    shapes = {features.upright_size(record.path) for record in dataset.split("train")}
    if len({round(width / height, 2) for width, height in shapes}) > 1 or trained.preprocess.fit == "crop":
        return whole
    width, height = max(shapes)
    at = trained.preprocess.box(width, height)
    if trained.preprocess.fit == "letterbox":
        return (at.left, at.top, at.left + at.fitted[0], at.top + at.fitted[1]), at.fitted
    scale = max(high, wide) / max(height, width)
    return whole[0], (max(1, round(width * scale)), max(1, round(height * scale)))


def _sheet(paths: list[Path], across: int) -> Image.Image:
    """A row of pictures for each class."""
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    grid: Tensor = make_grid(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), nrow=across, pad_value=255)
    return Image.fromarray(grid.permute(1, 2, 0).numpy())


def _describe(made: Path, out: Path, trained: Trained, rows: list[Row], facts: dict[str, Any]) -> None:
    synthetic = [row for row in rows if row.image.startswith(f"{IMAGES}/")]
    with Image.open(made / synthetic[0].image) as image:
        wide, high = image.size
    counts = {"n_made": len(synthetic), "n_real": len(rows) - len(synthetic), "high": high, "wide": wide}
    names = ", ".join(trained.task.classes)
    files.write_text(made / README, _README.format(**facts, **counts, classes=names, table=TABLE, out=out))
    model = trained.config.model.flat()
    weights = files.sha256(RunDir(Path(facts["run"])).weights)
    files.write_json(
        made / MARK, {"made_by": "zdd data gan", **facts, **counts, "model": model, "weights_sha256": weights}
    )


def _judged(out: Path, network: str) -> dict[str, Any]:
    """The judgement; without the network's weights the images are compared as they are, and no figure is given."""
    try:
        return likeness.judge(out, network=network)
    except ZddError as error:
        note = "so there is no FID and no KID, and copies are looked for by pixels alone"
        err.print(*error.lines, note, sep="\n", markup=False)
        return likeness.judge(out, network=features.PIXELS)
