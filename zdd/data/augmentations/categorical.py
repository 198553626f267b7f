"""One change of each kind: place, sharpness and contrast, colour, camera faults (docs/papers.md: label prints)."""

from torchvision.transforms import v2

from zdd.data.transforms import corruptions


def augment(mirror_safe: bool) -> v2.Transform:
    """One transform, or none, of each of the four phases, each as likely as the others of its phase.

    Args:
        mirror_safe: Whether the flip is among them.
    """
    return v2.Compose([v2.RandomChoice([*phase, v2.Identity()]) for phase in phases(mirror_safe)])


def phases(mirror_safe: bool) -> list[list[v2.Transform]]:
    """The eighteen transforms (seventeen without the flip) in their phases."""
    place = [
        v2.RandomRotation((0, 30)),
        v2.RandomAffine(degrees=0, translate=(0.1, 0.3), scale=(0.75, 1.0), shear=(0.0, 0.2)),
    ]
    if mirror_safe:
        place.append(v2.RandomHorizontalFlip(p=1.0))
    contrast = [
        v2.Grayscale(num_output_channels=3),
        v2.RandomAdjustSharpness(2.0, p=1.0),
        v2.RandomAutocontrast(p=1.0),
        v2.RandomEqualize(p=1.0),
    ]
    colour = [
        v2.RandomInvert(p=1.0),
        v2.RandomPosterize(bits=3, p=1.0),
        v2.RandomChoice([v2.RandomSolarize(threshold=t) for t in range(100, 201, 10)]),  # there drawn from 100 to 200
        v2.ColorJitter((0.3, 1.0), (0.3, 1.0), (0.3, 1.0), (-0.5, 0.5)),
    ]
    return [place, contrast, colour, corruptions()]
