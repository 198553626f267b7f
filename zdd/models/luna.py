"""LUNA, the small network that is trained from scratch (VasquezMatias/Master_Thesis_Profactor, "less is more")."""

from typing import cast

from torch import Tensor, nn

from zdd.errors import ZddError

CHANNELS = (8, 16, 32, 64)
SHRINK = 2 ** len(CHANNELS)  # each block halves height and width


class LunaNet(nn.Module):
    """Batch norm of the input, four blocks of two 3x3 convolutions, one linear layer; 115,088 parameters at 300 px.

    It differs from the original in two points: the linear layer takes the size that `image_size` asks for (64 x 18 x 18
    at 300 px, as there), and the output is logits: the original ended in a softmax, to which its loss added a second.

    Args:
        n_classes: Number of outputs.
        image_size: Height and width of the images in pixels, each at least 16.

    Raises:
        ZddError: If the images are smaller.
    """

    def __init__(self, n_classes: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        height, width = (side // SHRINK for side in image_size)
        if min(height, width) < 1:
            raise ZddError(f"image_size = {list(image_size)}: luna takes images from {SHRINK} x {SHRINK} pixels")
        self.norm = nn.BatchNorm2d(3)
        self.blocks = nn.Sequential(
            *(_block(before, after) for before, after in zip((3, *CHANNELS), CHANNELS, strict=False))
        )
        self.head = nn.Linear(CHANNELS[-1] * height * width, n_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, n_classes) logits."""
        return cast(Tensor, self.head(self.blocks(self.norm(image)).flatten(1)))


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )
