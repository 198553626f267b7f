"""DeepLIFT's rescale rule (Shrikumar, Greenside and Kundaje 2017, arXiv 1704.02685)."""

import torch
from captum.attr import DeepLift
from numpy.polynomial.legendre import leggauss
from torch import Tensor, nn

from zdd.explain.base import BATCH, Attribution, Subject, Unfit, incompleteness
from zdd.explain.baseline import reference
from zdd.explain.chunks import in_chunks
from zdd.explain.prepare import prepared
from zdd.settings import Baseline

SIGNED = True
READING_STEPS = 32  # of the way from one raw output to another; it costs no pass through the network


class _Read(nn.Module):
    """A network's raw output, weighted for each image: what DeepLIFT takes apart.

    Args:
        net: (B, 3, H, W) -> raw output.
        weight: Of an image's raw output, as often as the batch has images.
    """

    def __init__(self, net: nn.Module, weight: Tensor) -> None:
        super().__init__()
        self.net, self.weight = net, weight

    def forward(self, image: Tensor) -> Tensor:
        """(2b, 3, H, W), images and baselines -> (2b, 1)."""
        weighted: Tensor = self.net(image) * torch.cat((self.weight, self.weight))
        return weighted.flatten(1).sum(1, keepdim=True)


def attribute(subject: Subject, image: Tensor, target: Tensor, *, baseline: Baseline = "mean") -> Attribution:
    """The score's difference from a baseline's, handed back layer by layer in proportion to the activations'.

    The rule knows ReLU, ELU, LeakyReLU, sigmoid, tanh, softplus and max-pooling. All else (SiLU, GELU, layer norms,
    attention, squeeze-and-excitation) is taken as linear, which it is not: `error` says how far off that is.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
        baseline: "black", "mean" (of the normalisation), or "blur" (Gaussian of a sixteenth of the shorter side).

    Raises:
        Unfit: If the network can't be prepared for it.
        ZddError: If the baseline is "black" and the subject doesn't say what that is.
    """
    net = prepared(subject.net, image[:1].detach().clone())
    return in_chunks(lambda part, aim: _explain(subject, net, part, aim, baseline), image, target, BATCH // 2)


def _explain(subject: Subject, net: nn.Module, image: Tensor, target: Tensor, kind: Baseline) -> Attribution:
    start = reference(subject, image, kind)
    with torch.no_grad():
        raws = subject.net(image), subject.net(start)
    weight, direct = _read(subject, raws, (image, start), target)
    try:
        values = DeepLift(_Read(net, weight)).attribute(image, baselines=start)
    except RuntimeError as error:
        if "being used more than once" not in str(error):
            raise
        raise Unfit("deeplift: this network calls a module twice in a way that depends on the image") from None
    values = values + direct * (image - start)
    with torch.no_grad():
        scores = [
            subject.evidence(*ends).gather(1, target[:, None])[:, 0] for ends in ((raws[0], image), (raws[1], start))
        ]
    return Attribution(values.sum(1, keepdim=True), incompleteness(values, *scores))


def _read(
    subject: Subject, raws: tuple[Tensor, Tensor], images: tuple[Tensor, Tensor], target: Tensor
) -> tuple[Tensor, Tensor]:
    """How much each number of the raw output, and of the image itself, counts: (B, ...) and (B, 3, H, W).

    What is read of an output need not be linear (the log-odds of several classes, an autoencoder's error). The mean
    gradient on the straight way between the two outputs adds up to the evidence's difference, whatever it is.
    """
    weight, direct = torch.zeros_like(raws[0]), torch.zeros_like(images[0])
    for at, share in zip(*leggauss(READING_STEPS), strict=True):
        raw, image = (torch.lerp(start, end, (at + 1) / 2).requires_grad_(True) for end, start in (raws, images))
        evidence = subject.evidence(raw, image).gather(1, target[:, None]).sum()
        gradients = torch.autograd.grad(evidence, (raw, image), allow_unused=True)
        for total, gradient in zip((weight, direct), gradients, strict=True):
            if gradient is not None:
                total += gradient * (share / 2)
    return weight, direct
