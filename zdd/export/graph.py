"""The whole model as one module, from pixels to what is said of them: this is what is exported."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zdd.export.base import Outputs, Runner
from zdd.records import Prediction

OUTPUTS = ("score", "label", "probability", "uncertainty", "energy", "map", "pixels", "raw")
TOLERANCE = 1e-4  # of float32: as a share of an output's largest value over all batches
LITTLE = 0.01  # an output that is nowhere larger, as the map of good parts, is measured by this
TIES = 1e-3  # share of whole numbers (labels, classes of pixels) that may differ: a tie falls either way
Decode = Callable[[Tensor, Tensor], Prediction]


class Whole(nn.Module):
    """Pixels (B, H, W, 3) uint8, as `Preprocess.load` gives them -> what the method says of them, in eval mode.

    It normalises as `Preprocess.normalise` does, runs the net and decodes: preprocessing is complete.

    Args:
        net: Normalised images (B, 3, H, W) -> raw output; put into eval mode.
        decode: Raw output and normalised images -> Prediction.
        mean: Of each channel, for values in [0, 1].
        std: Of each channel, for values in [0, 1].
        threshold: Of the score, by which rounding is judged; it is no part of what is exported. None: there is none.
    """

    scale: Tensor  # (3, 1, 1)
    shift: Tensor  # (3, 1, 1)

    def __init__(
        self,
        net: nn.Module,
        decode: Decode,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        threshold: float | None = None,
    ) -> None:
        super().__init__()
        self.net, self.decode, self.threshold = net, decode, threshold
        # In double precision first, as Preprocess.normalise: the same float32 to the last bit.
        scale, shift = [1 / (255 * s) for s in std], [m / s for m, s in zip(mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self._names: tuple[str, ...] = ()
        self.eval()

    @property
    def names(self) -> tuple[str, ...]:
        """Those of OUTPUTS that the method has, in that order; known once it has run.

        Raises:
            RuntimeError: If it has not run yet.
        """
        if not self._names:
            raise RuntimeError("which outputs there are is known once the network has run; run it first")
        return self._names

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, H, W, 3) uint8 -> the outputs, in the order of `names`."""
        image = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.scale - self.shift
        raw = cast(Tensor, self.net(image))
        said = self.decode(raw, image)
        found = {name: raw if name == "raw" else getattr(said, name) for name in OUTPUTS}
        if not self._names:
            self._names = tuple(name for name, value in found.items() if value is not None)
        return tuple(value for value in found.values() if value is not None)

    def run(self, pixels: NDArray[np.uint8]) -> Outputs:
        """What torch says of pixels (B, H, W, 3), by name: what an engine is compared with."""
        device = self.scale.device
        with torch.no_grad():
            said = self(torch.from_numpy(pixels).to(device))
        return {name: value.cpu().numpy() for name, value in zip(self.names, said, strict=True)}


def differs(runner: Runner, whole: Whole, batches: Sequence[NDArray[np.uint8]]) -> str | None:
    """Why an engine of float32 is not the network, or None where it says the same of all batches.

    Args:
        runner: The engine.
        whole: The network.
        batches: Pixels; see `zdd.export.base.probes`.
    """
    pairs = [(whole.run(pixels), runner(pixels)) for pixels in batches]
    largest = {name: max(_largest(expected[name]) for expected, _ in pairs) for name in whole.names}
    for pixels, (expected, said) in zip(batches, pairs, strict=True):
        if tuple(said) != tuple(expected):
            return f"its outputs are {', '.join(said)}; those of the network are {', '.join(expected)}"
        for name, value in expected.items():
            reason = _unlike(said[name], value, largest[name])
            if reason:
                return f"of {len(pixels)} images at once, {name}: {reason}"
    return None


def _largest(values: NDArray[np.generic]) -> float:
    return float(np.abs(values.astype(np.float64)).max())


def _unlike(said: NDArray[np.generic], expected: NDArray[np.generic], largest: float) -> str | None:
    if said.shape != expected.shape or said.dtype != expected.dtype:
        return f"{said.dtype} {said.shape} instead of {expected.dtype} {expected.shape}"
    if expected.dtype.kind != "f":
        share = float(np.mean(said != expected))
        return f"{share:.2%} of the values differ" if share > TIES else None
    if not np.isfinite(said).all():
        return "not all values are finite"
    error = _largest(said.astype(np.float64) - expected.astype(np.float64))
    allowed = TOLERANCE * max(LITTLE, largest)
    return f"off by {error:.3g}, where {allowed:.3g} is rounding" if error > allowed else None
