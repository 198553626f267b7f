"""The U-Net's network: an encoder's taps at 1/2 to 1/32 of the image, and blocks that double the size again."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from zdd.errors import ZddError
from zdd.models import backbones, weights

STRIDE = 32
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
        image_size: Height and width, pixels.
        width: Of the decoder, 1 is SAP's.

    Raises:
        ZddError: If the encoder is unknown or its weights are not there.
    """

    def __init__(
        self, encoder: str, weights_name: str, n_classes: int, image_size: tuple[int, int], *, width: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder, channels = _encoder(encoder, weights_name, image_size)
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
        padded = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        *across, coarse = self.encoder(padded).values()
        for up, tap in zip(self.ups, reversed(across), strict=True):
            coarse = torch.cat([up(coarse), tap], dim=1)
        return cast(Tensor, self.last(coarse))[..., :height, :width]


def _up(channels: int, made: int) -> nn.Module:
    layer = nn.ConvTranspose2d(channels, made, 3, stride=2, padding=1, output_padding=1, bias=False)
    nn.init.normal_(layer.weight, 0, 0.02)
    return nn.Sequential(layer, nn.BatchNorm2d(made), nn.ReLU(inplace=True))


def _encoder(name: str, weights_name: str, image_size: tuple[int, int]) -> tuple[nn.Module, list[int]]:
    """The taps as a module that gives them by name, finest first, and their channels."""
    whole_size = (-(-image_size[0] // STRIDE) * STRIDE, -(-image_size[1] // STRIDE) * STRIDE)
    if name in TAPS:
        net = backbones.build(name, 2, whole_size)
        weights.load(net, name, weights_name, backbones.layout(net))
        encoder: nn.Module = create_feature_extractor(net, list(TAPS[name]))
    elif name.startswith("timm/"):
        encoder = _timm_encoder(name, weights_name)
    else:
        raise ZddError(f"model.encoder = '{name}': must be one of {', '.join(TAPS)}, or timm/<name>")
    device = next(encoder.parameters()).device
    with torch.no_grad():
        was, probe = encoder.training, torch.zeros(1, 3, *whole_size, device=device)
        taps: Sequence[Tensor] = list(encoder.eval()(probe).values())
        encoder.train(was)
    shapes = [(tap.shape[-2] * 2 ** (i + 1), tap.shape[-1] * 2 ** (i + 1)) for i, tap in enumerate(taps)]
    if len(taps) != 5 or any(shape != whole_size for shape in shapes):
        raise ZddError(f"model.encoder = '{name}': has no five stages at 1/2, 1/4, ... 1/32 of the image")
    return encoder, [tap.shape[1] for tap in taps]


def _timm_encoder(name: str, weights_name: str) -> nn.Module:
    if weights_name not in ("none", "imagenet"):
        raise ZddError(f'model.weights = \'{weights_name}\': of a timm encoder it must be "none" or "imagenet"')
    library, its_name = backbones.timm(name), backbones.timm_name(name)
    pretrained = weights_name == "imagenet" and torch.get_default_device().type != "meta"
    try:
        return _Named(library.create_model(its_name, features_only=True, pretrained=pretrained))
    except (RuntimeError, AttributeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ZddError(f"model.encoder = '{name}': timm can't give its features ({reason})") from None


class _Named(nn.Module):
    """timm's list of features as torchvision gives them: by name."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {str(i): tap for i, tap in enumerate(self.net(image))}
