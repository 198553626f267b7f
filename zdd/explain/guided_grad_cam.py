"""Guided Grad-CAM: the details of guided backpropagation where Grad-CAM points (Selvaraju et al. 2017, 1610.02391)."""

from torch import Tensor

from zdd.errors import ZddError
from zdd.explain import grad_cam, guided_backpropagation
from zdd.explain.base import Attribution, Subject

SIGNED = True  # as guided backpropagation is


def attribute(subject: Subject, image: Tensor, target: Tensor, *, layer: str = "auto") -> Attribution:
    """Guided backpropagation times Grad-CAM, pixel by pixel.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
        layer: Grad-CAM's: a module's name, or "auto".

    Raises:
        ZddError: If the layer is not there, or has no places on which the score depends.
        Unfit: If one of the two is unfit.
    """
    try:
        details = guided_backpropagation.attribute(subject, image, target).values
        places = grad_cam.attribute(subject, image, target, layer=layer).values
    except ZddError as error:  # in its own name
        raise type(error)(*(f"guided_grad_cam: {line.partition(': ')[2]}" for line in error.lines)) from None
    return Attribution(details * places)
