"""Whether a method can learn from such data, and the watched figure be counted on it: seen to before hours go by."""

from zdd.data.dataset import Dataset
from zdd.errors import ZddError

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
