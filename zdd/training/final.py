"""The last words of a run in TensorBoard: confusion matrix, worst mistakes, settings and figures, explanations."""

from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from zdd.report import curves, explained, pictures
from zdd.report.tested import Tested
from zdd.rundir import RunDir
from zdd.settings import Config

SHOWN = 9  # mistakes
WIDTH, HIGH = 1600, 4000  # of a contact sheet, at most, pixels
EXPLAINED = ".explained"  # how the file of events with them ends
FIGURES = ("accuracy", "balanced_accuracy", "f1", "defect_recall", "false_alarm_rate", "auroc", "auroc_macro", "ece")
COMPARED = (
    "seed",
    "image_size",
    "augmentation",
    "model",
    "criterion",
    "optimizer",
    "scheduler",
    "epochs",
    "batch_size",
)


def write_final(tested: Tested, config: Config, epoch: int) -> None:
    """Add to the run's events what the best weights, at the stored threshold, say of the validation split.

    Args:
        tested: The best weights on the validation split.
        config: The run's configuration.
        epoch: Number of epochs trained, the x-axis.
    """
    writer = SummaryWriter(str(tested.run.log))
    try:
        chart = curves.confusion_axes(tested).get_figure(root=True)
        assert chart is not None
        writer.add_figure("validation/confusion matrix", chart, epoch, close=False)
        if tested.mistakes:
            picture = _grid([pictures.annotate(tested, row) for row in tested.mistakes[:SHOWN]])
            writer.add_image("validation/most confident mistakes", picture, epoch, dataformats="HWC")
        known = {f"verdict/{name}": tested.figures[name].value for name in FIGURES}
        known = {name: value for name, value in known.items() if value is not None}
        for summary in hparams(compared(config), known):  # type: ignore[no-untyped-call]
            # Not add_hparams, which would open a second run beside this one.
            writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
        for name, value in known.items():
            writer.add_scalar(name, value, epoch)
    finally:
        writer.close()


def write_explained(run: RunDir) -> None:
    """Add the contact sheets of explain/ to the run's events, in place of those of an earlier call."""
    for old in run.log.glob(f"*{EXPLAINED}"):
        old.unlink()
    sheets = {path.parent.name: path for path in sorted((run.path / explained.FOLDER).glob(f"*/{explained.SHEET}"))}
    if not sheets:
        return
    writer = SummaryWriter(str(run.log), filename_suffix=EXPLAINED)
    try:
        for name, path in sheets.items():
            sheet = pictures.upright(str(path))
            sheet.thumbnail((WIDTH, HIGH))
            writer.add_image(f"explain/{name}", np.asarray(sheet), dataformats="HWC")
    finally:
        writer.close()


def compared(config: Config) -> dict[str, str | int | float | bool]:
    """The settings by which runs are compared, by dotted name: numbers, words and switches, lists as text."""
    settings = config.model_dump(mode="json", include=set(COMPARED))
    settings["augmentation"] = ", ".join(section.name for section in config.augmentation)
    return _flat(settings)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    out: dict[str, str | int | float | bool] = {}
    for name, value in settings.items():
        dotted = f"{prefix}{name}".replace(".options.", ".")
        if isinstance(value, dict):
            out |= _flat(value, f"{dotted}.")
        else:
            out[dotted] = value if isinstance(value, str | int | float | bool) else str(value)
    return out


def _grid(images: list[Image.Image], columns: int = 3) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    width, height = max(i.width for i in images), max(i.height for i in images)
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (min(columns, len(images)) * width, rows * height), "white")
    for i, image in enumerate(images):
        sheet.paste(image, ((i % columns) * width, (i // columns) * height))
    sheet.thumbnail((1600, 1600))
    return np.asarray(sheet)
