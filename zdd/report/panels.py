"""One picture of what a method says of an image's pixels: panels side by side, each with its title and its legend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Batch, Prediction
from zdd.report import heat
from zdd.report.heat import Frame, Span
from zdd.report.pictures import TEXT, font, upright, write_line

SMALLEST, LARGEST = 320, 640  # longest side of a panel, pixels
WIDEST = 7.4  # width of all panels, in heights of one, before they stand in two rows and more
GAP, LINE = 12, 22  # pixels
INK, PAPER, EDGE = "#1B2733", "#FFFFFF", "#AEB8C2"

Legend = Sequence[tuple[str, str]]  # colour and what it means


@dataclass(frozen=True)
class Sight:
    """What a method says of the pixels of an image, and what is true; everything (H, W) of the network's input."""

    map: NDArray[np.float32]
    truth: NDArray[np.uint8] | None = None  # classes; None: not known
    kinds: NDArray[np.uint8] | None = None  # most probable class of a defect
    drawn: NDArray[np.uint8] | None = None  # (H, W, 3) the reconstruction

    @classmethod
    def of(cls, batch: Batch, said: Prediction, row: int, preprocess: Preprocess) -> "Sight":
        """Of one row of a batch and of what was said of it, on the CPU.

        Raises:
            ValueError: If the method gives no map.
        """
        if said.map is None:
            raise ValueError("a method without a map has nothing to show of the pixels")
        truth = batch["mask"][row, 0].numpy() if "mask" in batch else None
        if truth is not None and bool((truth == UNKNOWN).any()):
            truth = None
        kinds = None if said.pixels is None else said.pixels[row].numpy()
        drawn = None
        if said.picture is not None:
            values = said.picture[row].float().numpy().transpose(1, 2, 0) * preprocess.std + preprocess.mean
            drawn = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        return cls(said.map[row, 0].float().numpy(), truth, kinds, drawn)


@dataclass(frozen=True)
class Panel:
    """A picture (h, w, 3) with its title; below it the colours' meanings, or the scale of a heat map."""

    title: str
    pixels: NDArray[np.uint8]
    legend: Legend = ()
    span: Span | None = None


@dataclass(frozen=True)
class View:
    """What all pictures of a method have in common.

    Args:
        preprocess: Of the images.
        classes: Names; 0 is the good one.
        span: The scale of the heat maps.
    """

    preprocess: Preprocess
    classes: tuple[str, ...]
    span: Span

    def draw(self, path: str, sight: Sight, lines: Sequence[str], colour: str) -> Image.Image:
        """One image with everything that is known of its pixels, below a bar of `colour` with text."""
        return sheet(self.panels(path, sight), lines, colour)

    def panels(self, path: str, sight: Sight) -> list[Panel]:
        """Image, reconstruction, heat map, truth, prediction and difference: those that there are, in this order."""
        picture, frame = opened(path, self.preprocess)
        found = [Panel("image", picture)]
        if sight.drawn is not None:
            drawn = frame.picture(Image.fromarray(sight.drawn), Image.Resampling.BILINEAR)
            found.append(Panel("reconstruction", np.asarray(drawn)))
        found.append(Panel("heat map", self.span.colours(frame.values(sight.map)), span=self.span))
        return [*found, *self._marked(frame, picture, sight)]

    def _marked(self, frame: Frame, picture: NDArray[np.uint8], sight: Sight) -> list[Panel]:
        several, panels = len(self.classes) > 2, []
        defective = sight.map >= self.span.threshold
        kinds = sight.kinds if several else None
        given = np.where(defective, 1 if kinds is None else kinds, 0).astype(np.uint8)
        for title, classes in (("truth", sight.truth), ("prediction", None if sight.kinds is None else given)):
            if classes is not None:
                colours = heat.KINDS if several else [PAPER]
                marked = heat.painted(picture, frame.classes(classes), colours)
                panels.append(Panel(title, marked, self._legend(classes, colours)))
        if sight.truth is None:
            if sight.kinds is None:
                marked = heat.painted(picture, frame.classes(given), [heat.FOUND])
                panels.append(Panel("found", marked, [(heat.FOUND, "taken for defective")]))
            return panels
        said = frame.classes(heat.compared(defective, sight.truth, kinds))
        legend = [(colour, name) for name, colour in heat.DIFFERENCE.items() if several or colour != heat.OTHER]
        difference = heat.painted(picture, said, list(heat.DIFFERENCE.values()))
        return [*panels, Panel("difference", difference, legend)]

    def _legend(self, classes: NDArray[np.uint8], colours: Sequence[str]) -> Legend:
        there = [int(k) for k in np.unique(classes) if k]
        return [(colours[(k - 1) % len(colours)], self.classes[k]) for k in there] or [(INK, "no defect")]


def opened(
    path: str, preprocess: Preprocess, sides: tuple[int, int] = (SMALLEST, LARGEST)
) -> tuple[NDArray[np.uint8], Frame]:
    """A picture as it is shown, (h, w, 3), and how the network's input lies on it.

    Args:
        path: The original.
        preprocess: What brings it to the network.
        sides: Smallest and largest length of its longer side; it need not be larger than what the network is given.
    """
    original = upright(path)
    box = preprocess.box(*original.size)
    given = min(box.fitted[0], preprocess.size[1]), min(box.fitted[1], preprocess.size[0])
    size = shown(original.size, max(sides[0], min(sides[1], *given)))
    frame = Frame.of(box, preprocess.size, size)
    return frame.dimmed(np.asarray(original.resize(size))), frame


def shown(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height, the longer of which is `side`."""
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def sheet(panels: Sequence[Panel], lines: Sequence[str], colour: str) -> Image.Image:
    """Panels of one size side by side (in rows where they are wide), below a bar of `colour` with text."""
    high, wide = panels[0].pixels.shape[:2]
    cell = max(wide, SMALLEST // 2)
    columns = max(1, min(len(panels), int(WIDEST * max(high, SMALLEST // 2) / cell)))
    columns = -(-len(panels) // -(-len(panels) // columns))  # rows of nearly the same length
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [high + LINE * (1 + max(_below(panel) for panel in row)) + 2 * GAP for row in rows]
    top, width = bar_height(lines), max(columns * (cell + GAP) + GAP, 2 * SMALLEST)
    canvas = Image.new("RGB", (width, top + sum(heights)), PAPER)
    heading(canvas, lines, colour)
    for row, height in zip(rows, heights, strict=True):
        for i, panel in enumerate(row):
            _put(canvas, panel, (GAP + i * (cell + GAP), top + GAP // 2), cell)
        top += height
    return canvas


def _below(panel: Panel) -> int:
    """Lines below a panel."""
    return 2 if panel.span else len(panel.legend)


def bar_height(lines: Sequence[str]) -> int:
    """Height of a bar with so many lines, pixels."""
    return 2 * GAP + 26 * len(lines)


def heading(canvas: Image.Image, lines: Sequence[str], colour: str) -> None:
    """Write lines into a bar along the upper edge, the first one larger."""
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, canvas.width, bar_height(lines)), fill=colour)
    for i, line in enumerate(lines):
        at = (GAP, GAP + 26 * i + (4 if i else -3))
        write_line(draw, at, line, canvas.width - 2 * GAP, size=22 if i == 0 else 18, fill=TEXT)


def _put(canvas: Image.Image, panel: Panel, at: tuple[int, int], width: int) -> None:
    """Title, picture and legend of one panel, in a column of this width."""
    draw, (x, y) = ImageDraw.Draw(canvas), at
    write_line(draw, (x, y), panel.title, width, size=16, fill=INK)
    canvas.paste(Image.fromarray(panel.pixels), (x, y + LINE))
    below = y + LINE + panel.pixels.shape[0] + GAP // 2
    if panel.span is not None:
        ruler(canvas, panel.span, (x, below), panel.pixels.shape[1] if panel.pixels.shape[1] > 80 else width)
    for i, (colour, text) in enumerate(panel.legend):
        line = below + i * LINE
        draw.rectangle((x, line + 3, x + 14, line + 17), fill=colour, outline=INK)
        write_line(draw, (x + 22, line), text, width - 22, size=15, fill=INK)


def ruler(canvas: Image.Image, span: Span, at: tuple[int, int], width: int) -> None:
    """The colour bar of a heat map with its ends, and the threshold or, of a signed one, 0 marked."""
    draw, (x, y) = ImageDraw.Draw(canvas), at
    ramp = np.linspace(span.low, span.high, width, dtype=np.float32)[None].repeat(14, axis=0)
    canvas.paste(Image.fromarray(span.colours(ramp)), (x, y))
    letters = font(13)
    start = f"{span.low:.3g} and less" if span.signed else "0"
    end = "1" if span.high == 1 and not span.signed else f"{span.high:.3g} and more"  # a probability has no more
    if draw.textlength(f"{start}   0   {end}", font=letters) > width:
        start, end = start.split()[0], end.split()[0]
    draw.text((x, y + 18), start, font=letters, fill=INK)
    draw.text((x + width - draw.textlength(end, font=letters), y + 18), end, font=letters, fill=INK)
    if span.signed:
        draw.rectangle((x, y, x + width - 1, y + 13), outline=EDGE)  # its middle is as white as the paper
        draw.text((x + width / 2 - draw.textlength("0", font=letters) / 2, y + 18), "0", font=letters, fill=INK)
    if span.threshold <= span.high:
        mark = x + round((width - 1) * span.threshold / span.high)
        draw.line((mark, y - 3, mark, y + 17), fill="#00D0FF", width=2)
        text = f"threshold {span.threshold:.3g}"
        draw.text((mark - draw.textlength(text, font=letters) / 2, y + 18), text, font=letters, fill=INK)
