"""Whether a map tells what the network does, where no mask is known: figures of one image's map, all by experiment.

The score that is watched is the evidence for the explained target, log-odds rather than a probability: it does not
saturate, and where two regions speak for a defect both still count. Pixels that are taken away become `filled`.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from numpy.typing import NDArray
from scipy import integrate, ndimage
from torch import Tensor

from zdd.explain.base import BATCH

Map = NDArray[np.floating]  # (H, W)
Score = Callable[[Tensor], Tensor]  # images (B, 3, H, W) -> (B,) evidence for the target of the one that is explained
Fill = Literal["blur", "mean"]

BLUR = 0.05  # of the shorter side: the Gaussian's sigma, 11 pixels at 224
SMALLEST, LARGEST = 0.05, 0.3  # sides of the squares that infidelity covers, shares of the shorter side
FLOOR = 1e-6  # share of the scores' size below which a difference of two is rounding


def filled(image: Tensor, fill: Fill) -> Tensor:
    """The image (3, H, W) without what can be seen in it: blurred, or its mean colour throughout."""
    if fill == "mean":
        return image.mean((1, 2), keepdim=True).expand_as(image).clone()
    sigma = BLUR * min(image.shape[1:])
    smooth = ndimage.gaussian_filter(image.detach().cpu().numpy(), (0, sigma, sigma), mode="nearest")
    return torch.from_numpy(smooth).to(image)


def insertion_deletion(
    score: Score, image: Tensor, values: Map, *, steps: int = 32, fill: Fill = "blur", seed: int = 0
) -> tuple[float, float]:
    """The areas below the score as pixels are shown, or taken away, the most important first (RISE, Petsiuk et al.
    2018, arXiv 1806.07421).

    The curve is rescaled so that the whole image has 1 and the filled one 0, and cut off at both, so that figures of
    images and networks can be put together. Signed maps are sorted as they are: what speaks against comes last.

    Args:
        score: What is watched.
        image: (3, H, W) normalised.
        values: (H, W).
        steps: Points of the curve after the first.
        fill: What takes the place of pixels.
        seed: Of the order of pixels with equal values.

    Returns:
        Insertion, higher is better, and deletion, lower is better, both in [0, 1]; a map without information has
        about the same of both. NaN if the filled image speaks no less for the target: nothing can be taken away.
    """
    away = filled(image, fill)
    whole, nothing = _scores(score, iter(torch.stack((image, away)).unsqueeze(1)))
    if not whole - nothing > FLOOR * max(abs(whole), abs(nothing)):
        return float("nan"), float("nan")
    rank = torch.from_numpy(_ranks(values, seed)).to(image.device)

    def area(start: Tensor, end: Tensor) -> float:
        ends = [round(k * rank.numel() / steps) for k in range(steps + 1)]
        curve = (_scores(score, (torch.where(rank < n, end, start)[None] for n in ends)) - nothing) / (whole - nothing)
        return float(integrate.trapezoid(np.clip(curve, 0, 1), np.array(ends) / rank.numel()))

    return area(away, image), area(image, away)


def infidelity(
    score: Score, image: Tensor, values: Map, *, samples: int = 64, fill: Fill = "blur", seed: int = 0
) -> float:
    """How badly a map foretells the change of the score when a square is covered (Yeh et al. 2019, arXiv 1901.09392).

    Squares of 5 to 30 % of the shorter side are covered with `filled`; the sum of the map below a square ought to be
    proportional to what the score loses. It is captum's normalised infidelity (the map times the factor that suits it
    best, so that methods of different scale compare) over the mean square of the losses.

    Args:
        score: What is watched.
        image: (3, H, W) normalised.
        values: (H, W), signed or not, as they are.
        samples: Squares.
        fill: What covers.
        seed: Of the squares, the same for every image and explainer.

    Returns:
        In [0, 1], lower is better: 0, the map foretells every loss; 1, it says nothing, or the contrary. NaN if
        nothing changes the score.
    """
    squares = _squares(samples, (values.shape[0], values.shape[1]), seed)
    covers, away, heard = iter(torch.from_numpy(squares)), filled(image, fill), list[Tensor]()

    def cover(images: Tensor) -> tuple[Tensor, Tensor]:
        taken = torch.stack([next(covers) for _ in images])[:, None].to(image).expand_as(images)
        return taken, torch.lerp(images, away.expand_as(images), taken)

    def watched(images: Tensor) -> Tensor:
        heard.append(score(images))
        return heard[-1]

    spread = torch.from_numpy(values.astype(np.float32)).to(image).expand_as(image)[None] / len(image)
    # Captum asks for the covered ones first, then for the whole image, batch by batch.
    found = captum_infidelity(
        watched, cover, image[None], spread, n_perturb_samples=samples, max_examples_per_batch=min(BATCH, samples),
        normalize=True,
    )  # fmt: skip
    pairs = zip(heard[::2], heard[1::2], strict=True)
    lost = torch.cat([whole - covered for covered, whole in pairs]).double().cpu().numpy()
    floor = (FLOOR * float(heard[1].abs().max())) ** 2
    if not np.mean(lost**2) > floor:
        return float("nan")
    foretold = np.einsum("shw,hw->s", squares, values.astype(np.float64))
    return float(np.clip(float(found[0]) / np.mean(lost**2), 0, 1)) if foretold @ lost > 0 else 1.0


def max_sensitivity(
    attribute: Callable[[Tensor], Tensor], image: Tensor, *, radius: float = 0.02, samples: int = 10, seed: int = 0
) -> float:
    """By how much a map changes at most when the image does by what nobody sees (Yeh et al. 2019, arXiv 1901.09392).

    Args:
        attribute: Images (B, 3, H, W) -> maps (B, 1, H, W), of the one target.
        image: (3, H, W) normalised.
        radius: Largest change of a value; 0.02 is about one of 255 grey values with ImageNet's normalisation.
        samples: Changed images.
        seed: Of the changes.

    Returns:
        The largest norm of the difference over the norm of the map, lower is better; captum's.
    """
    rng = np.random.default_rng(seed)

    def changed(images: Tensor) -> Tensor:
        noise = rng.uniform(-radius, radius, tuple(images.shape)).astype(np.float32)
        return images + torch.from_numpy(noise).to(images)

    def explained(images: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        # Captum asks for the first map with a tuple; a map that is no tuple then, it would take for a tuple of maps.
        return (attribute(images[0]),) if isinstance(images, tuple) else attribute(images)

    found = sensitivity_max(
        explained, image[None], changed, n_perturb_samples=samples, max_examples_per_batch=min(BATCH, samples)
    )
    return float(found[0])


def sparseness(values: Map) -> float:
    """The Gini index of the absolute values: 0 for a uniform map, 1 - 1/n for one of n pixels alone (Chalasani et al.
    2020, arXiv 1810.06583). NaN for a map that is 0. What is sparse can still be wrong: this ranks nothing by itself.
    """
    size = np.sort(np.abs(values.astype(np.float64)).ravel())
    if not size.any():
        return float("nan")
    weight = (len(size) - np.arange(1, len(size) + 1) + 0.5) / len(size)
    return float(1 - 2 * (size * weight).sum() / size.sum())


@torch.no_grad()
def _scores(score: Score, images: Iterator[Tensor]) -> NDArray[np.float64]:
    """The scores of images (1, 3, H, W) that come one by one, no more than `BATCH` of them in memory."""
    scores, waiting = list[Tensor](), list[Tensor]()
    for image in images:
        waiting.append(image)
        if len(waiting) == BATCH:
            scores.append(score(torch.cat(waiting)))
            waiting.clear()
    if waiting:
        scores.append(score(torch.cat(waiting)))
    return torch.cat(scores).double().cpu().numpy()


def _ranks(values: Map, seed: int) -> NDArray[np.int64]:
    """(H, W) the place of each pixel in the order of the values, 0 the highest; of equal ones, by chance."""
    chance = np.random.default_rng(seed).permutation(values.size)
    order = np.lexsort((chance, -values.ravel()))
    rank = np.empty(values.size, dtype=np.int64)
    rank[order] = np.arange(values.size)
    return rank.reshape(values.shape)


def _squares(n: int, size: tuple[int, int], seed: int) -> NDArray[np.bool_]:
    """(n, H, W) one square each."""
    rng, squares = np.random.default_rng(seed), np.zeros((n, *size), dtype=bool)
    for square in squares:
        side = max(1, round(rng.uniform(SMALLEST, LARGEST) * min(size)))
        top, left = (int(rng.integers(0, length - side + 1)) for length in size)
        square[top : top + side, left : left + side] = True
    return squares
