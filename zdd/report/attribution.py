"""Pictures of where a model looked: the original, the attribution in colours, and both together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from zdd.preprocess import Preprocess
from zdd.report.heat import Bytes, Frame, Span, rgb
from zdd.report.panels import Legend, Panel, opened, sheet
from zdd.report.words import certainty, percent

RIGHT, WRONG, OPEN, DOUBTED = "#0A6B50", "#B3420A", "#4A5A68", "#7A1F1F"  # bars: judged rightly, wrongly, not known
FOR, AGAINST, TRUE = "#FF3B30", "#3DA5FF", "#00E5A0"  # of an overlay: to be seen on dark and on light pictures
UNSEEN = "#C3CCD5"  # of a heat map, where the network saw nothing of the picture
GREY, THICK = 0.85, 0.7  # of an overlay: brightness of the picture below it, opacity of the strongest values
DOT = 160  # input pixels, on the shorter side, for each pixel that a dot of an overlay reaches farther: 3 wide at 224
STRAY = 0.02  # share of the attribution in the padding from which on it is said


def draw(
    path: str,
    values: NDArray[np.float32],
    preprocess: Preprocess,
    *,
    scale: float,
    signed: bool,
    lines: Sequence[str],
    colour: str,
    truth: Bytes | None = None,
) -> Image.Image:
    """Original, heat map and overlay side by side below a bar with text; nothing is shown of the input's padding.

    Args:
        path: The original.
        values: (H, W) of the network's input.
        preprocess: What brings the original to the network.
        scale: Where the colours end, the same for all images of an explainer.
        signed: Whether values below 0 speak against the target.
        lines: Text of the bar, as `describe` gives it.
        colour: Of the bar, as `colour_of` gives it.
        truth: (H, W) true classes of the input, to be outlined; None: not known.

    Raises:
        OSError: If the image can't be read.
    """
    picture, frame = opened(path, preprocess)
    span = Span(scale, signed=signed)
    shown, over = frame.values(values), seen(picture, frame, values, span, truth)
    legend: Legend = [(FOR, "speaks for it"), (AGAINST, "speaks against it")] if signed else []
    if truth is not None and truth.any():
        legend = [*legend, (TRUE, "outlined: true defect")]
    stray = outside(values, frame)
    panels = [
        Panel("image", picture),
        Panel("heat map", _unseen(span.colours(shown), frame), span=span),
        Panel("overlay", over, legend),
    ]
    more = [f"{100 * stray:.0f} % of it lies in the padding around the picture, not shown"] if stray >= STRAY else []
    return sheet(panels, [*lines, *more], colour)


def seen(picture: Bytes, frame: Frame, values: NDArray[np.float32], span: Span, truth: Bytes | None = None) -> Bytes:
    """A picture (h, w, 3) with the attribution (H, W) of the input laid over it and the true defect outlined."""
    over = overlay(picture, frame.values(dots(values)), span)
    return over if truth is None else outlined(over, frame.classes((truth > 0).astype(np.uint8)) > 0)


def dots(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) in which single pixels have grown to dots, the stronger over the weaker: else nobody would see them.

    The heat map shows the values as they are; maps that are smooth hardly change.
    """
    reach = 2 * round(min(values.shape) / DOT) + 1
    above, below = (ndimage.maximum_filter(np.maximum(side, 0), reach) for side in (values, -values))
    return np.asarray(np.where(above >= below, above, -below), np.float32)


def overlay(picture: Bytes, values: NDArray[np.float32], span: Span) -> Bytes:
    """The picture (h, w, 3) in grey, coloured the more, the larger the value (h, w): weak ones leave it as it is."""
    grey = GREY * np.asarray(Image.fromarray(picture).convert("L"), np.float64)[..., None].repeat(3, axis=2)
    strength = np.clip(np.abs(values) / span.high, 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, rgb(FOR), rgb(AGAINST)) if span.signed else span.colours(values)
    share = THICK * strength
    return np.rint((1 - share) * grey + share * colour).astype(np.uint8)


def outlined(picture: Bytes, mask: NDArray[np.bool_]) -> Bytes:
    """The picture (h, w, 3) with a line around what is in the mask (h, w), outside of it."""
    reach = 2 * max(1, round(max(mask.shape) / 320)) + 1
    out = picture.copy()
    out[ndimage.maximum_filter(mask, reach) & ~mask] = rgb(TRUE)
    return out


def outside(values: NDArray[np.float32], frame: Frame) -> float:
    """Share of the attribution's size that lies on the input's padding."""
    total = float(np.abs(values).sum())
    if total <= 0:
        return 0.0
    g, (high, wide) = frame.geometry, values.shape
    x0, y0 = (max(0, round(at)) for at in (g.left, g.top))
    x1, y1 = min(wide, round(g.left + g.fitted[0])), min(high, round(g.top + g.fitted[1]))
    return 1 - float(np.abs(values[y0:y1, x0:x1]).sum()) / total


def describe(row: dict[str, Any], about: dict[str, Any]) -> list[str]:
    """What a bar says of an image: explainer and target, truth and verdict, score and how far it can be trusted.

    Args:
        row: A line of explained.jsonl.
        about: The explainer's about.json.
    """
    asked = "what speaks for and against" if about["signed"] else "what matters for"
    head = f"{about['variant']}: {asked} {target(row['target'])}"
    judged = (
        f"judged: {row['predicted']}" if row["true"] is None else f"true: {row['true']}   judged: {row['predicted']}"
    )
    if row["probability"] is not None:
        judged += f"   probability {row['probability']:.3f}"
    if row["certainty"] is not None:
        judged += f"   certainty {certainty(1 - row['certainty'])}"
    score = f"score {row['score']:.4g}"
    if row["error"] is not None:
        score += f"   completeness error {percent(row['error'])}"
    doubt = ["UNRELIABLE for this network: don't believe this picture"] if about["unreliable"] else []
    return [head, *doubt, judged, score]


def target(name: str) -> str:
    """A target in a sentence."""
    return "a defect" if name == "defect" else f'"{name}"'


def colour_of(row: dict[str, Any], about: dict[str, Any] | None = None) -> str:
    """The colour of an image's bar: green judged rightly, orange wrongly, grey not known; red: don't believe it."""
    if about is not None and about["unreliable"]:
        return DOUBTED
    if row["true"] is None:
        return OPEN
    return RIGHT if row["true"] == row["predicted"] else WRONG


def _unseen(colours: Bytes, frame: Frame) -> Bytes:
    """A heat map's colours (h, w, 3), plain where the network saw nothing of the picture."""
    left, top, right, bottom = frame.seen
    out = np.full_like(colours, rgb(UNSEEN))
    out[top:bottom, left:right] = colours[top:bottom, left:right]
    return out
