"""A network taken apart for torch2trt: what it can't convert is replaced, or stays with torch."""

from torch import Tensor, nn
from torch.nn import functional as F

from zdd.export.graph import Whole


class After(nn.Module):
    """What is made of the net's raw output: (B, ...) raw and (B, H, W, 3) pixels -> the outputs of `whole`."""

    scale: Tensor
    shift: Tensor

    def __init__(self, whole: Whole) -> None:
        super().__init__()
        self.decode = whole.decode
        self.names = whole.names
        self.register_buffer("scale", whole.scale, persistent=False)
        self.register_buffer("shift", whole.shift, persistent=False)

    def forward(self, raw: Tensor, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, ...), (B, H, W, 3) uint8 -> the outputs, in the order of `names`."""
        said = self.decode(raw, pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift)
        return tuple(raw.clone() if name == "raw" else getattr(said, name) for name in self.names)


class Bounded(nn.Module):
    """ReLU6 as torch2trt knows it: of nn.ReLU6, which calls hardtanh today, it drops every one without a word."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same, 0 to 6."""
        return F.relu6(x)


def with_known_relu6(net: nn.Module) -> nn.Module:
    """Replace every ReLU6 in place."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, Bounded())
    return net
