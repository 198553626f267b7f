"""Guided backpropagation (Springenberg, Dosovitskiy, Brox and Riedmiller 2015, arXiv 1412.6806)."""

from captum.attr import GuidedBackprop
from torch import Tensor, nn

from zdd.explain.base import Attribution, Subject, Unfit
from zdd.explain.chunks import in_chunks
from zdd.explain.prepare import GATES, activations, prepared

SIGNED = True
INSTEAD = "take smooth_grad or integrated_gradients"


def attribute(subject: Subject, image: Tensor, target: Tensor) -> Attribution:
    """The gradient that passes each ReLU only where it is positive: what is there and speaks for the target.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.

    Raises:
        Unfit: If the network's activations are not ReLUs, so that nothing, or only some of it, would be guided.
    """
    net = guidable(subject.net, image[:1].detach().clone())
    return in_chunks(lambda part, aim: _explain(subject.module(net), part, aim), image, target)


def guidable(net: nn.Module, image: Tensor) -> nn.Module:
    """The network, prepared, if guiding its gradients means anything.

    Raises:
        Unfit: If not; one line says why.
    """
    made = prepared(net, image, guided=True)
    found = activations(made)
    others = sorted({type(each).__name__ for each in found if not isinstance(each, (nn.ReLU, *GATES))})
    if not any(isinstance(each, nn.ReLU) for each in found):
        named = f" but {', '.join(others)}" if others else ""
        raise Unfit(
            f"guided_backpropagation: this network has no ReLU{named}, so that it would be the plain gradient;"
            f" {INSTEAD}"
        )
    if others:
        raise Unfit(
            f"guided_backpropagation: this network has {', '.join(others)} beside ReLU, so that it would be a mix with"
            f" the plain gradient; {INSTEAD}"
        )
    return made


def _explain(module: nn.Module, image: Tensor, target: Tensor) -> Attribution:
    values = GuidedBackprop(module).attribute(image, target=target)
    return Attribution(values.sum(1, keepdim=True))
