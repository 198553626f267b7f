"""A part with a label, and photographs of it: shape, material, light, pose, bench, camera."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from zdd.data.synthesis.labels_print import Fault, Plane, fractal, print_label

_PAINTS = (
    (70, 74, 80), (128, 132, 138), (36, 40, 46), (42, 70, 112),
    (150, 60, 48), (196, 150, 60), (70, 104, 84), (204, 202, 196),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One physical part, flat in its own plane; the plane spans [-1, 1] both ways, y down."""

    colour: Plane  # (P, P, 3) reflected share of the light, in [0, 1]
    height: Plane  # (P, P) relief, in plane units
    inside: Plane  # (P, P) 1 on the part
    fault: Plane  # (P, P) 1 in the faulty region
    gloss: float  # strength of the highlight


def make_part(rng: np.random.Generator, fault: Fault, *, side: int) -> Part:
    """Make a part of any shape and material, (side, side) pixels, and stick a label with the `fault` on it."""
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, side, dtype=np.float32)], indexing="ij")
    half_width, half_height = rng.uniform(0.66, 0.70), rng.uniform(0.44, 0.48)  # of the label
    depth, round_back = _outline(rng, x, y)
    height = 0.10 * np.clip(depth / rng.uniform(0.06, 0.14), 0, 1) ** 0.5 + round_back
    height = height + _fittings(rng, x, y, depth, np.array((half_width, half_height)))
    colour, rough, gloss = _material(rng, x, y)
    height = height + rough
    label = print_label(rng, fault, width=int(half_width * side), height=int(half_height * side))
    tall, wide = label.fault.shape
    off = (rng.uniform(-0.02, 0.02, 2) * side).astype(int)
    rows = slice(side // 2 - tall // 2 + off[0], side // 2 - tall // 2 + off[0] + tall)
    columns = slice(side // 2 - wide // 2 + off[1], side // 2 - wide // 2 + off[1] + wide)
    region = np.zeros((side, side), np.float32)
    colour[rows, columns] = label.colour
    height[rows, columns] = height[rows, columns] - 0.9 * rough[rows, columns] + 0.004
    region[rows, columns] = label.fault
    inside = np.clip(depth * side / 4 + 0.5, 0, 1)
    return Part(np.clip(colour, 0, 1), height, inside, region, gloss)


def _outline(rng: np.random.Generator, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Distance to the part's edge (positive inside) and the bulge of its face."""
    kind = rng.choice(("disc", "box", "can", "octagon"))
    if kind == "disc":
        return rng.uniform(0.86, 0.94) - np.hypot(x, y), np.zeros_like(x)
    if kind == "octagon":
        apothem = rng.uniform(0.8, 0.88)
        slant = (np.abs(x) + np.abs(y)) / np.sqrt(2) - 0.06
        return apothem - np.maximum(np.maximum(np.abs(x), np.abs(y)), slant), np.zeros_like(x)
    size = (rng.uniform(0.78, 0.94), rng.uniform(0.6, 0.8))
    corner = 0.04 if kind == "can" else rng.uniform(0.06, 0.25)
    beyond_x, beyond_y = np.abs(x) - size[0] + corner, np.abs(y) - size[1] + corner
    outer = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
    depth = corner - outer - np.minimum(np.maximum(beyond_x, beyond_y), 0)
    if kind == "box":
        return depth, np.zeros_like(x)
    return depth, 0.45 * np.sqrt(np.clip(1.1 - (y / size[1]) ** 2, 0, None))  # a can that lies on its side


def _fittings(rng: np.random.Generator, x: Plane, y: Plane, depth: Plane, label: Plane) -> Plane:
    """Grooves along the edge, screws around the label, a cap: relief only."""
    relief = np.zeros_like(x)
    for _ in range(rng.integers(0, 3)):
        relief -= 0.02 * np.exp(-(((depth - rng.uniform(0.05, 0.14)) / 0.01) ** 2))
    if rng.random() < 0.7:
        turn, count, far = rng.uniform(0, 2 * np.pi), int(rng.integers(2, 9)), rng.uniform(0.7, 0.8)
        for angle in turn + 2 * np.pi * np.arange(count) / count:
            middle = np.array((far * np.cos(angle), far * np.sin(angle)))
            if (np.abs(middle) > label + 0.07).any():
                relief += _screw(x - middle[0], y - middle[1], rng.uniform(0.04, 0.06), rng.uniform(0, np.pi))
    return relief


def _screw(x: Plane, y: Plane, radius: float, turn: float) -> Plane:
    head = 0.05 * np.sqrt(np.clip(1 - (x**2 + y**2) / radius**2, 0, None))
    slot = np.abs(x * np.sin(turn) + y * np.cos(turn)) < 0.2 * radius
    return np.where(slot, 0.4 * head, head).astype(np.float32)


def _material(rng: np.random.Generator, x: Plane, y: Plane) -> tuple[Plane, Plane, float]:
    """Colour (P, P, 3), roughness as relief (P, P) and gloss of the part's body."""
    side = len(x)
    base = np.array(_PAINTS[rng.integers(len(_PAINTS))], np.float32) / 255
    stain = fractal(rng, side, side, cell=0.4)[..., None]
    kind = rng.choice(("painted", "brushed", "turned", "cast"))
    if kind == "painted":
        return base + 0.015 * stain, 0.0012 * fractal(rng, side, side, cell=0.02, octaves=2), rng.uniform(0.25, 0.6)
    if kind == "cast":
        grain = fractal(rng, side, side, cell=0.035, octaves=3)
        return base + 0.02 * stain + 0.02 * grain[..., None], 0.005 * grain, rng.uniform(0.05, 0.2)
    steel = rng.uniform(0.45, 0.7) * np.array((1.0, 1.0, 1.03), np.float32) + 0.02 * stain
    line = rng.standard_normal(4 * side, dtype=np.float32)
    if kind == "turned":  # rings of the lathe
        scratches = line[np.minimum((np.hypot(x, y) * 1.5 * side).astype(int), len(line) - 1)]
    else:  # lines of the brush, broken up along their way
        scratches = line[:side, None] + 0.5 * fractal(rng, side, side, cell=0.01, octaves=1)
    return steel + 0.03 * scratches[..., None], 0.0008 * scratches, rng.uniform(0.3, 0.5)


def photograph(part: Part, rng: np.random.Generator, *, size: int) -> tuple[Image.Image, Image.Image]:
    """Lay the part on a bench under some light and take one picture.

    Returns:
        The picture, RGB, size x size, and the mask of the faulty region, "L" with 0 and 255.
    """
    canvas = 2 * size
    pose = _pose(rng)
    seen = _project(np.concatenate((_light(part, rng), part.inside[..., None]), axis=2), pose, canvas)
    inside, scene = seen[..., 3:], _bench(rng, canvas)
    scene = scene * (1 - rng.uniform(0.35, 0.65) * _shadow(inside[..., 0], rng))
    scene = scene * (1 - inside) + seen[..., :3] * inside
    region = _project(part.fault[..., None].repeat(4, axis=2), pose, canvas)[..., 0]
    mask = Image.fromarray(np.uint8(255 * (region > 0.5))).resize((size, size), Image.Resampling.BOX)
    return _camera(scene, rng, size), mask.point(lambda value: 255 * (value >= 128))


def _pose(rng: np.random.Generator) -> Plane:
    """A homography from the picture's plane ([-1, 1], y down) to the part's: turn, size, place and a slight tilt."""
    angle, scale = np.radians(np.clip(rng.normal(0, 3), -8, 8)), rng.uniform(1.0, 1.12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1 / scale]])
    move = np.array([[1, 0, rng.uniform(-0.04, 0.04)], [0, 1, rng.uniform(-0.04, 0.04)], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, 1, 0], [rng.normal(0, 0.03), rng.normal(0, 0.03), 1]])
    return np.asarray(turn @ tilt @ move)


def _project(values: Plane, pose: Plane, canvas: int) -> Plane:
    """Map (P, P, 4) in [0, 1] from the part's plane into the picture, (canvas, canvas, 4)."""
    to_unit = np.array([[2 / canvas, 0, -1], [0, 2 / canvas, -1], [0, 0, 1]])
    side = values.shape[0]
    from_unit = np.array([[side / 2, 0, side / 2], [0, side / 2, side / 2], [0, 0, 1]])
    matrix = from_unit @ pose @ to_unit
    image = Image.fromarray(np.uint8(np.clip(values, 0, 1) * 255 + 0.5), "RGBA")
    steps = tuple((matrix / matrix[2, 2]).flatten()[:8])
    out = image.transform((canvas, canvas), Image.Transform.PERSPECTIVE, steps, Image.Resampling.BILINEAR)
    return np.asarray(out, np.float32) / 255


def _light(part: Part, rng: np.random.Generator) -> Plane:
    """What the part sends to the camera: one lamp, the hall around it, a highlight; (P, P, 3)."""
    side = part.height.shape[0]
    down, right = np.gradient(part.height, np.float32(2 / side))
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, side, dtype=np.float32)], indexing="ij")
    around, high = rng.uniform(0, 2 * np.pi), np.float32(rng.uniform(1.0, 2.4))
    to_x, to_y = np.float32(1.6 * np.cos(around)) - x, np.float32(1.6 * np.sin(around)) - y
    far = np.sqrt(to_x**2 + to_y**2 + high**2)
    facing = 1 / np.sqrt(right**2 + down**2 + 1)  # of the surface's normal, (-right, -down, 1) before scaling
    toward = (high - right * to_x - down * to_y) / far * facing
    between = np.sqrt(2 + 2 * high / far)  # length of lamp direction plus viewing direction (0, 0, 1)
    diffuse = np.clip(toward, 0, None) * (np.median(far) / far) ** 1.5
    highlight = part.gloss * np.clip((toward + facing) / between, 0, None) ** rng.uniform(30, 90)
    share = rng.uniform(0.35, 0.6)  # of the light that comes from the hall
    lit = part.colour * (share + (1.5 - share) * diffuse)[..., None] + highlight[..., None]
    return np.asarray(lit * rng.uniform(0.8, 1.1), np.float32)


def _shadow(inside: Plane, rng: np.random.Generator) -> Plane:
    canvas = len(inside)
    around, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.04) * canvas
    image = Image.fromarray(np.uint8(255 * inside)).filter(ImageFilter.GaussianBlur(rng.uniform(0.01, 0.03) * canvas))
    moved = image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, far * np.cos(around), 0, 1, far * np.sin(around))
    )
    return np.asarray(moved, np.float32)[..., None] / 255


def _bench(rng: np.random.Generator, canvas: int) -> Plane:
    """What the part lies on: a ribbed belt, brushed steel, concrete or a plastic tray; (canvas, canvas, 3)."""
    kind = rng.choice(("belt", "steel", "concrete", "tray"))
    noise = fractal(rng, canvas, canvas, cell=0.5)[..., None]
    fine = fractal(rng, canvas, canvas, cell=0.012, octaves=2)[..., None]
    along = np.linspace(0, 1, canvas, dtype=np.float32)[:, None, None]
    if kind == "belt":
        ribs = np.sin(2 * np.pi * (along * rng.uniform(14, 30) + rng.random()))
        return np.asarray(rng.uniform(0.1, 0.25) + 0.02 * ribs + 0.015 * noise + 0.02 * fine)
    if kind == "steel":
        lines = rng.standard_normal((canvas, 1, 1), dtype=np.float32)
        return np.asarray(rng.uniform(0.4, 0.65) + 0.03 * noise + 0.02 * lines + 0.01 * fine)
    if kind == "concrete":
        return np.asarray(rng.uniform(0.35, 0.6) + 0.04 * noise + 0.04 * fine)
    tints = np.array(((0.2, 0.3, 0.45), (0.45, 0.2, 0.18), (0.25, 0.4, 0.28), (0.6, 0.55, 0.4)), np.float32)
    return np.asarray(tints[rng.integers(4)] * rng.uniform(0.7, 1.3) + 0.015 * noise + 0.005 * fine)


def _camera(scene: Plane, rng: np.random.Generator, size: int) -> Image.Image:
    """Lens, shutter and sensor: fall-off to the corners, white balance, blur, photon and read noise, exposure."""
    canvas = len(scene)
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, canvas, dtype=np.float32)], indexing="ij")
    scene = scene * (1 - rng.uniform(0.05, 0.2) * (x**2 + y**2))[..., None]
    scene = scene * rng.uniform(0.95, 1.05, 3).astype(np.float32) * rng.uniform(0.85, 1.15)
    image = Image.fromarray(np.uint8(np.clip(scene, 0, 1) * 255 + 0.5))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9) * canvas / 512 * 2)).reduce(2)
    if image.width != size:
        raise AssertionError("the canvas is twice the picture")
    pixels = np.asarray(image, np.float32) / 255
    spread = np.sqrt(rng.uniform(0.0002, 0.0012) * pixels + rng.uniform(0.005, 0.012) ** 2)
    pixels = pixels + spread * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.uint8(np.clip(pixels, 0, 1) * 255 + 0.5))
