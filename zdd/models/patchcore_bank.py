"""The memory of PatchCore: patches of good images, those that cover all others, and the distance to them."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zdd.errors import ZddError
from zdd.models import backbones, weights
from zdd.models.unet_net import Taps

CHUNK = 1 << 24  # distances held at a time, 64 MB
PROJECTED = 128  # dimensions in which the coreset is chosen (Johnson and Lindenstrauss 1984), as in the paper


class Bank(nn.Module):
    """Normalised images -> (B, 1, h, w), each patch's distance to the nearest good ones.

    Args:
        backbone: As `zdd.models.backbones.build` takes them.
        weights_name: As `zdd.models.weights.load` takes them.
        image_size: Height and width, pixels.
        layers: Activations by torchvision's names; the first has the finest grid, which is the map's.
        neighbours: Patches of the memory that a distance is the mean over.
    """

    patches: Tensor

    def __init__(
        self, backbone: str, weights_name: str, image_size: tuple[int, int], layers: list[str], *, neighbours: int = 1
    ) -> None:
        super().__init__()
        net = backbones.build(backbone, 2, image_size)
        weights.load(net, backbone, weights_name, backbones.layout(net))
        self.features = _taps(net, layers, image_size).requires_grad_(False)
        self.neighbours = neighbours
        self.register_buffer("patches", torch.zeros(0, 0))

    def train(self, mode: bool = True) -> Self:
        """The network is in use, never in training: its batch norms neither use nor learn a batch's statistics."""
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, h, w)."""
        patch = self.patch(image)
        height, width = patch.shape[-2:]
        distance = nearest(patch.permute(0, 2, 3, 1).reshape(-1, patch.shape[1]), self.patches, self.neighbours)
        # Not len(image), which is a plain int: a graph drawn with it would take that many images and no other number.
        return distance.reshape(image.shape[0], 1, height, width)

    def patch(self, image: Tensor) -> Tensor:
        """(B, C, h, w): the mean over each 3 x 3 neighbourhood, all layers on the finest grid."""
        taps = [F.avg_pool2d(tap.float(), 3, stride=1, padding=1) for tap in self.features(image)]
        size = taps[0].shape[-2:]
        same = [taps[0], *(F.interpolate(tap, size, mode="bilinear", align_corners=False) for tap in taps[1:])]
        return torch.cat(same, dim=1)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        # The number of patches depends on the data: make room for what is in the file.
        kept = state_dict.get(f"{prefix}patches")
        if kept is not None:
            self.patches = self.patches.new_empty(kept.shape)
        super()._load_from_state_dict(state_dict, prefix, *others)


def nearest(patches: Tensor, memory: Tensor, neighbours: int = 1) -> Tensor:
    """(N, C), (M, C) -> (N,) mean Euclidean distance to the nearest rows of the memory.

    Raises:
        RuntimeError: If the memory is empty: nothing was learnt yet.
    """
    if not len(memory):
        raise RuntimeError("the memory of good patches is empty")
    if torch.compiler.is_exporting():
        return _nearest(patches, memory, neighbours)  # a graph has no loop over as many parts as a batch asks for
    rows = max(1, CHUNK // len(memory))
    return torch.cat([_nearest(part, memory, neighbours) for part in torch.split(patches, rows)])


def _nearest(patches: Tensor, memory: Tensor, neighbours: int) -> Tensor:
    with torch.autocast(patches.device.type, enabled=False):
        # |m|^2 - 2 pm decides who is near; the distance is taken anew, of these alone, so that nothing cancels out.
        order = torch.addmm((memory**2).sum(1), patches, memory.T, alpha=-2)
        near = order.topk(min(neighbours, len(memory)), dim=1, largest=False).indices
        distance: Tensor = torch.linalg.vector_norm(patches[:, None] - memory[near], dim=2).mean(1)
    return distance


def coreset(patches: Tensor, n: int) -> Tensor:
    """Rows that cover all others: each next one is that which is farthest from those chosen (Sener and Savarese 2018).

    Args:
        patches: (N, C).
        n: Number of rows wanted.

    Returns:
        (min(n, N),) indices; the first is drawn at random.
    """
    if n >= len(patches):
        return torch.arange(len(patches))
    flat = patches
    if patches.shape[1] > PROJECTED:
        project = torch.randn(patches.shape[1], PROJECTED).to(patches) / PROJECTED**0.5
        flat = patches @ project
    square = (flat**2).sum(1)
    chosen = torch.empty(n, dtype=torch.int64)
    at = int(torch.randint(len(flat), ()))
    far = torch.full((len(flat),), torch.inf, device=flat.device)
    for i in range(n):
        chosen[i] = at
        far = torch.minimum(far, (square - 2 * (flat @ flat[at]) + square[at]).clamp_min(0))
        far[at] = -1  # never again, not even among equals
        at = int(far.argmax())
    return chosen


def _taps(net: nn.Module, layers: list[str], image_size: tuple[int, int]) -> nn.Module:
    """What gives the layers' activations, in eval mode; compared with what the whole network makes of an image.

    Raises:
        ZddError: If a layer is not there, gives no grid, or lies within a block that is no mere chain.
    """
    line = f"model.layers = {layers}: must be blocks of the backbone that follow each other, the finest grid first"
    image = torch.linspace(-2, 2, 3 * image_size[0] * image_size[1], device=next(net.parameters()).device)
    image = image.reshape(1, 3, *image_size)
    try:
        expected = _outputs(net.eval(), layers, image)
        taps = Taps(net, tuple(layers)).eval()
        with torch.no_grad():
            said = taps(image)
    except (AttributeError, ValueError, IndexError, RuntimeError, AssertionError) as error:
        raise ZddError(f"{line} ({error})") from None
    sizes = [tap.shape[2:].numel() for tap in expected if tap.ndim == 4]
    if len(said) < len(layers) or len(sizes) < len(layers) or sizes != sorted(sizes, reverse=True):
        raise ZddError(line)
    if not image.is_meta and not all(torch.equal(*pair) for pair in zip(said, expected, strict=True)):
        raise ZddError(f"{line}; one of these lies within a block")
    return taps


def _outputs(net: nn.Module, layers: list[str], image: Tensor) -> list[Tensor]:
    """What the layers say while the whole network runs."""
    said: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _given: Any, made: Tensor) -> None:
        said[name] = made.clone()  # a ReLU that follows may work in place

    hooks = [net.get_submodule(name).register_forward_hook(partial(keep, name)) for name in layers]
    with torch.no_grad():
        net(image)
    for hook in hooks:
        hook.remove()
    return [said[name] for name in layers]
