"""A network that computes in half precision, its types written into the graph: what strongly typed engines want."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from zdd.export.graph import Whole


class Half(nn.Module):
    """The net under autocast: products in `dtype`, sums and norms in float32, as in training with mixed precision.

    Args:
        net: Normalised images (B, 3, H, W) -> raw output.
        dtype: torch.float16 or torch.bfloat16.
    """

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) float32 -> raw output, float32."""
        # A cache of converted weights would be drawn into the graph where it was filled, not where it is read.
        with torch.autocast(image.device.type, dtype=self.dtype, cache_enabled=False):
            return cast(Tensor, self.net(image)).float()


def halved(whole: Whole, dtype: torch.dtype) -> Whole:
    """The same from pixels to what is said, its net in half precision; `whole` is left as it is."""
    other = copy.copy(whole)
    other._modules = dict(whole._modules)
    other.net = Half(whole.net, dtype).eval()
    return other
