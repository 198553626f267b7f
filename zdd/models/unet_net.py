"""The U-Net's network: an encoder's taps at 1/2 to 1/32 of the image, and blocks that double the size again."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zdd.errors import ZddError
from zdd.models import backbones, weights

STRIDE = 32
SMALLEST = 64  # px, what smaller images are padded to: at 1/32 batch norms need more than one place to look at
TIMM_SIZE = (224, 224)
NO_STAGES = "has no five stages at 1/2, 1/4, ... 1/32 of the image"
# The activations that go across, finest first, and the coarsest, at 1/32. MobileNetV2's are those of SAP's LGP example:
# block_1_expand_relu, block_3_expand_relu, block_6_expand_relu, block_13_expand_relu, block_16_project.
TAPS = {
    "mobilenet_v2": (
        "features.2.conv.0",
        "features.4.conv.0",
        "features.7.conv.0",
        "features.14.conv.0",
        "features.17",
    ),
    "resnet18": ("relu", "layer1", "layer2", "layer3", "layer4"),
    "resnet50": ("relu", "layer1", "layer2", "layer3", "layer4"),
    "efficientnet_b1": ("features.1", "features.2", "features.3", "features.5", "features.7"),
    "efficientnet_v2_s": ("features.1", "features.2", "features.3", "features.5", "features.6"),
    "shufflenet_v2_x1_0": ("conv1", "maxpool", "stage2", "stage3", "conv5"),
    "vgg16": ("features.8", "features.15", "features.22", "features.29", "features.30"),
}
UP_CHANNELS = (576, 192, 144, 96)  # from 1/16 to 1/2, as in SAP's example


class Network(nn.Module):
    """(B, 3, H, W) normalised -> (B, K, H, W) logits of each pixel's class, 0 the good one; any H and W.

    Args:
        encoder: A key of `TAPS`, or timm/<name>.
        weights_name: The encoder's weights, as `zdd.models.weights.load` takes them.
        n_classes: K.
        width: Of the decoder, 1 is SAP's.

    Raises:
        ZddError: If the encoder is unknown or its weights are not there.
    """

    def __init__(self, encoder: str, weights_name: str, n_classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        self.encoder, channels = _encoder(encoder, weights_name)
        ups, below = [], channels[-1]
        for across, wanted in zip(reversed(channels[:-1]), UP_CHANNELS, strict=True):
            made = max(8, round(wanted * width / 8) * 8)
            ups.append(_up(below, made))
            below = made + across
        self.ups = nn.ModuleList(ups)
        self.last = nn.ConvTranspose2d(below, n_classes, 3, stride=2, padding=1, output_padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        height, width = image.shape[-2:]
        # The border is repeated up to whole strides, and cut off again.
        right, below = (max(SMALLEST, -(-side // STRIDE) * STRIDE) - side for side in (width, height))
        padded = F.pad(image, (0, right, 0, below), mode="replicate")
        *across, coarse = self.encoder(padded)
        for up, tap in zip(self.ups, reversed(across), strict=True):
            coarse = torch.cat([up(coarse), tap], dim=1)
        return cast(Tensor, self.last(coarse))[..., :height, :width]


class Taps(nn.Module):
    """The activations of a network at some of its modules; what comes after the last of them is left out.

    The modules on the way are called one after the other, so each that holds a tap must be a chain of its children. The
    parameters keep the network's names. (torchvision's feature extractor forgets eval mode when it is copied.)

    Args:
        net: The network.
        taps: Names of its modules, in the order of the forward pass.
    """

    def __init__(self, net: nn.Module, taps: tuple[str, ...]) -> None:
        super().__init__()
        _cut_after(net, taps[-1])
        for name, child in net.named_children():
            self.add_module(name, child)
        self.taps = taps
        self.chain = list(_chain(self, "", taps))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> what each tap says."""
        said = []
        for name in self.chain:
            image = self.get_submodule(name)(image)
            if name in self.taps:
                said.append(image)
        return said


def _cut_after(net: nn.Module, path: str) -> None:
    name, _, rest = path.partition(".")
    names = [child for child, _ in net.named_children()]
    for later in names[names.index(name) + 1 :]:
        delattr(net, later)
    if rest:
        _cut_after(net.get_submodule(name), rest)


def _chain(module: nn.Module, prefix: str, taps: tuple[str, ...]) -> Iterator[str]:
    for name, child in module.named_children():
        if any(tap.startswith(f"{prefix}{name}.") for tap in taps):
            yield from _chain(child, f"{prefix}{name}.", taps)
        else:
            yield prefix + name


def _up(channels: int, made: int) -> nn.Module:
    layer = nn.ConvTranspose2d(channels, made, 3, stride=2, padding=1, output_padding=1, bias=False)
    nn.init.normal_(layer.weight, 0, 0.02)
    return nn.Sequential(layer, nn.BatchNorm2d(made), nn.ReLU(inplace=True))


def _encoder(name: str, weights_name: str) -> tuple[nn.Module, list[int]]:
    """(B, 3, H, W) -> the taps, finest first; and their channels."""
    if name not in TAPS and not name.startswith("timm/"):
        raise ZddError(f"model.encoder = '{name}': must be one of {', '.join(TAPS)}, or timm/<name>")
    try:
        net = backbones.build(name, 2, (SMALLEST, SMALLEST) if name in TAPS else TIMM_SIZE)
    except ZddError as error:
        raise ZddError(*(line.replace("model.backbone", "model.encoder") for line in error.lines)) from None
    weights.load(net, name, weights_name, backbones.layout(net))
    encoder = Taps(net, TAPS[name]) if name in TAPS else _timm_features(name, net)
    return encoder, _channels(encoder, name)


def _timm_features(name: str, net: nn.Module) -> nn.Module:
    """timm's own taps of a network, with the weights that `net` has."""
    try:
        encoder: nn.Module = backbones.timm(name).create_model(backbones.timm_name(name), features_only=True)
    except (RuntimeError, AttributeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ZddError(f"model.encoder = '{name}': timm can't give its features ({reason})") from None
    # Its names are flat where the network's are nested: layer1_0.conv1 is layer1.0.conv1.
    theirs = {key.replace("_", "."): value for key, value in net.state_dict().items()}
    state = {key: theirs.get(key.replace("_", ".")) for key in encoder.state_dict()}
    if None in state.values():
        raise ZddError(f"model.encoder = '{name}': {NO_STAGES}")
    encoder.load_state_dict(state)
    return encoder


def _channels(encoder: nn.Module, name: str) -> list[int]:
    was, device = encoder.training, next(encoder.parameters()).device
    with torch.no_grad():
        taps = list(encoder.eval()(torch.zeros(1, 3, SMALLEST, SMALLEST, device=device)))
    encoder.train(was)
    if [tuple(tap.shape[2:]) for tap in taps] != [(SMALLEST // 2**i,) * 2 for i in range(1, 6)]:
        raise ZddError(f"model.encoder = '{name}': {NO_STAGES}")
    return [tap.shape[1] for tap in taps]
