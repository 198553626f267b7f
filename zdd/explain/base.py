"""What every explainer is given and gives back."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zdd.errors import ZddError

BATCH = 16  # images that the network sees at a time, whatever the number of steps or samples
UNRELIABLE = 0.05  # error of completeness above which a map is not what it claims to be

Evidence = Callable[[Tensor, Tensor], Tensor]


class Unfit(ZddError):  # noqa: N818 (reads as what it is)
    """This explainer can't be right for this network; one line that says why and what to take instead."""


@dataclass(frozen=True)
class Subject:
    """A trained network, in eval mode and never compiled, and how strongly its output speaks for each target.

    Args:
        net: Normalised images (B, 3, H, W) -> raw output.
        evidence: Raw output and images -> (B, T), differentiable; one column a target.
        own: Images -> (B, 1, H, W), the method's own map; None: it has none.
        black: What a normalised image has where a picture is black, one number a channel; None: not known.
    """

    net: nn.Module
    evidence: Evidence
    own: Callable[[Tensor], Tensor] | None = None
    black: tuple[float, ...] | None = None

    def score(self, image: Tensor, target: Tensor) -> Tensor:
        """(B, 3, H, W), (B,) -> (B,) evidence for each image's target."""
        return self.evidence(self.net(image), image).gather(1, target[:, None])[:, 0]

    def module(self, net: nn.Module | None = None) -> "Scored":
        """The same as one module, (B, 3, H, W) -> (B, T), as Captum wants it; of another form of the network."""
        return Scored(self.net if net is None else net, self.evidence)


class Scored(nn.Module):
    """A network and its evidence as one module: (B, 3, H, W) -> (B, T)."""

    def __init__(self, net: nn.Module, evidence: Evidence) -> None:
        super().__init__()
        self.net, self.evidence = net, evidence

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, T)."""
        return self.evidence(self.net(image), image)


@dataclass(frozen=True)
class Attribution:
    """What an explainer says of a batch.

    Args:
        values: (B, 1, H, W) float32 on the network's input; signed where the explainer says `SIGNED`, else
            not negative.
        error: (B,) by how much the values fail to add up to the score's difference from the baseline's, as a share of
            it; None of methods that don't promise that they do.
    """

    values: Tensor
    error: Tensor | None = None


def incompleteness(values: Tensor, score: Tensor, baseline: Tensor) -> Tensor:
    """(B,) |sum of the values - (score - baseline's)| / |score - baseline's| (completeness, Sundararajan et al. 2017).

    Args:
        values: (B, C, H, W).
        score: (B,).
        baseline: (B,).
    """
    gap = score - baseline
    floor = torch.finfo(gap.dtype).eps * torch.maximum(score.abs(), baseline.abs()).clamp_min(1)
    return (values.flatten(1).sum(1) - gap).abs() / gap.abs().maximum(floor)
