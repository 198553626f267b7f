"""Changes to a network at its two ends: the stem for small images, the head left out."""

from typing import Any

from torch import nn

from zdd.errors import ZddError
from zdd.models import backbones

SMALL = 64  # px; up to here the stem that ImageNet's networks begin with throws most of the image away
SMALL_STEMS = (
    "resnet18", "resnet50", "mobilenet_v2", "efficientnet_b1", "efficientnet_v2_s", "shufflenet_v2_x1_0",
)  # fmt: skip


def set_stem(net: nn.Module, name: str, stem: str, image_size: tuple[int, int]) -> None:
    """Give the network the stem for small images where it is asked for: stride 1 and no max-pool, ResNets 3 x 3.

    A ResNet's first convolution is a new one then; the other networks keep its weights.

    Args:
        net: As `build` gives it, weights loaded.
        name: The backbone.
        stem: "imagenet" changes nothing; "small"; "auto": small for images of up to 64 x 64 pixels, where there is one.
        image_size: Height and width, pixels.

    Raises:
        ZddError: If "small" is asked for and the backbone has none.
    """
    if stem == "imagenet" or (stem == "auto" and (max(image_size) > SMALL or name not in SMALL_STEMS)):
        return
    if name not in SMALL_STEMS:
        raise ZddError(f"model.stem = 'small': {name} has none; {', '.join(SMALL_STEMS)} have one")
    part: Any = net
    if name.startswith("resnet"):
        part.conv1 = nn.Conv2d(3, part.conv1.out_channels, 3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(part.conv1.weight, mode="fan_out", nonlinearity="relu")
    first = (
        part.conv1
        if name.startswith("resnet")
        else part.conv1[0]
        if name.startswith("shuffle")
        else part.features[0][0]
    )
    first.stride = (1, 1)
    if hasattr(part, "maxpool"):
        part.maxpool = nn.Identity()


def behead(net: nn.Module) -> int:
    """Leave out the layer that makes the logits: the network then gives (B, F) features.

    Returns:
        F.

    Raises:
        ZddError: If its head is not one linear layer or one convolution.
    """
    heads = {name.rpartition(".")[0] for name in backbones.layout(net).head}
    path = heads.pop() if len(heads) == 1 else ""
    layer = net.get_submodule(path) if path else None
    if isinstance(layer, nn.Linear):
        n_features = layer.in_features
    elif isinstance(layer, nn.Conv2d):
        n_features = layer.in_channels
    else:
        raise ZddError("model.backbone: its head is not one layer that could be left out; choose another")
    above, _, last = path.rpartition(".")
    setattr(net.get_submodule(above), last, nn.Identity())
    return n_features
