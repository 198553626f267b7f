"""Whether a method can learn on this machine and from such data, and the watched figure be counted on it."""

import torch

from zdd.data.dataset import Dataset
from zdd.errors import ZddError
from zdd.settings import TrainerSettings

OVERLAP = ("val/iou", "val/dice")  # counted on defective pixels


def check(dataset: Dataset, monitor: str, *, masks: bool) -> None:
    """See that there is something to learn and something to watch.

    Args:
        dataset: In its splits.
        monitor: Name of the watched figure.
        masks: Whether the method learns from masks.

    Raises:
        ZddError: If no defect in training has a mask and masks are what is learnt; or if the figure does not exist on
            such validation images, so that the best epoch could not be told from any other.
    """
    val = dataset.split("val")
    masked = [record for record in val if record.label > 0 and record.mask]
    mistakes = []
    if masks and not any(record.label > 0 and record.mask for record in dataset.split("train")):
        mistakes.append(
            "dataset: no defective training image has a mask, and masks are what the model learns; add some"
        )
    if monitor in OVERLAP and not masked:
        mistakes.append(f"monitor = '{monitor}': no defective validation image has a mask; add some, or watch val/loss")
    if monitor == "val/loss" and masks and not masked and all(record.label > 0 for record in val):
        mistakes.append("monitor = 'val/loss': no validation image is good or has a mask; add some")
    if monitor == "val/auroc" and dataset.has_good and len({record.label > 0 for record in val}) < 2:
        mistakes.append(
            "monitor = 'val/auroc': needs good and defective validation images, and there is one sort only; add some, "
            "or watch val/loss"
        )
    if mistakes:
        raise ZddError(*mistakes)


def check_machine(trainer: TrainerSettings) -> None:
    """See that the devices that the configuration names are there.

    Raises:
        ZddError: If they are not, or fewer of them.
    """
    name, gpus = trainer.accelerator, torch.cuda.device_count()
    if (name == "cuda" and not gpus) or (name == "mps" and not torch.backends.mps.is_available()):
        raise ZddError(f"trainer.accelerator = '{name}': torch finds no such device here; take 'auto' or 'cpu'")
    if name in ("auto", "cuda") and 0 < gpus < trainer.devices:
        raise ZddError(f"trainer.devices = {trainer.devices}: of GPUs there are {gpus} here; take {gpus} at most")
