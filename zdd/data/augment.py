"""Augmentations by name, or any of torchvision.transforms.v2 with its keywords; checked before any data is read."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from zdd import plugins
from zdd.data.transforms import OnPillow
from zdd.errors import ZddError
from zdd.settings import Config, Section

MIRRORING = ("RandomHorizontalFlip", "RandomVerticalFlip")  # flipped upside down is mirrored too
IMAGES_ALONE = (OnPillow, v2.RandAugment, v2.AutoAugment, v2.TrivialAugmentWide, v2.AugMix)
_KIND = "augmentation"


def build(sections: Sequence[Section], *, mirror_safe: bool) -> Callable[..., Tensor]:
    """What is done to a training image: (3, H, W) uint8 -> the same; to an image and a mask (tv_tensors), both.

    Args:
        sections: One after the other.
        mirror_safe: Whether the mirrored part is a possible part; if not, nothing mirrors.

    Raises:
        ZddError: If a section can't be built.
    """
    steps = [_step(section, mirror_safe) for section in sections]
    return cast(Callable[..., Tensor], v2.Compose(steps) if steps else v2.Identity())


def check(config: Config, *, masks: bool = False) -> list[str]:
    """What is wrong with `config.augmentation`, a line each: names, keywords, values, and what comes out of it.

    Args:
        config: Its `augmentation`, `image_size` and `dataset.mirror_safe` are read.
        masks: Whether masks must move along.
    """
    found = [line for section in config.augmentation for line in _mistakes(section, config.dataset.mirror_safe)]
    if found:
        return found
    try:
        augment = build(config.augmentation, mirror_safe=config.dataset.mirror_safe)
        with torch.random.fork_rng(devices=[]):
            image = augment(torch.full((3, *config.image_size), 128, dtype=torch.uint8))
    except Exception as error:  # whatever torchvision raises, the user's keywords are why
        return [f"augmentation: can't be applied to an image: {error}"]
    high, wide = config.image_size
    if not isinstance(image, Tensor) or image.shape != (3, high, wide) or image.dtype != torch.uint8:
        what = f"{tuple(image.shape)} {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        return [f"augmentation: makes {what} of an image; must stay (3, {high}, {wide}) torch.uint8, zdd normalises it"]
    try:
        if masks:
            check_masks(augment, config)
    except ZddError as error:
        return list(error.lines)
    return []


def check_masks(act: Callable[..., Any], config: Config) -> None:
    """See that an image's mask moves with it.

    Raises:
        ZddError: If an augmentation takes images alone, as RandAugment does, or erases defects from images alone.
    """
    steps = list(_steps(act))
    if any(isinstance(step, v2.RandomErasing) for step in steps):
        raise ZddError("augmentation: RandomErasing erases defects and leaves them in their masks; take it out")
    names = ", ".join(section.name for section in config.augmentation)
    refused = ZddError(f"augmentation = {names}: can't move masks with their images; choose simple or categorical")
    if any(isinstance(step, IMAGES_ALONE) for step in steps):
        raise refused
    image = tv_tensors.Image(torch.zeros((3, *config.image_size), dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.zeros((1, *config.image_size), dtype=torch.uint8))
    try:
        with torch.random.fork_rng(devices=[]):
            act(image, mask)
    except Exception as error:  # whatever torchvision raises
        raise refused from error


def _steps(act: Any) -> Iterator[Any]:
    """A transform and all that are in it."""
    yield act
    for one in getattr(act, "transforms", ()):
        yield from _steps(one)


def _step(section: Section, mirror_safe: bool) -> v2.Transform:
    wrong = _mistakes(section, mirror_safe)
    if wrong:
        raise ZddError(*wrong)
    if section.name in plugins.available(_KIND):
        return cast(v2.Transform, plugins.load(_KIND, section.name)(mirror_safe, **section.options))
    options = {key: _value(key, value, mirror_safe) for key, value in section.options.items()}
    try:
        return cast(v2.Transform, getattr(v2, section.name)(**options))
    except Exception as error:  # torchvision's own check of a keyword's value
        raise ZddError(f"augmentation: {section.name} refuses its keywords: {error}") from error


def _value(key: str, value: Any, mirror_safe: bool) -> Any:
    """JSON to what torchvision takes."""
    if key == "transforms":
        return [_step(one, mirror_safe) for one in _nested(value)]
    if key == "interpolation" and isinstance(value, str):
        return InterpolationMode(value)
    if key == "fill":
        return {tv_tensors.Mask: 0, "others": value}  # what moves in from outside shows no defect
    return value


def _nested(value: Any) -> list[Section]:
    """The sections in a container's `transforms`: names or {"name": ..., keyword: value}."""
    sections = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            sections.append(Section(name=one))
        elif isinstance(one, dict) and isinstance(one.get("name"), str):
            sections.append(Section(name=one["name"], options={k: v for k, v in one.items() if k != "name"}))
        else:
            raise ZddError(f'augmentation: transforms = {value!r}: must be a list of {{"name": ..., keyword: value}}')
    return sections


def _mistakes(section: Section, mirror_safe: bool) -> list[str]:
    ours, theirs = plugins.available(_KIND), _transforms()
    name = section.name
    if name in ours:
        known = set(ours[name].options)
        return [_unknown(name, key, known) for key in section.options if key not in known]
    if name not in theirs:
        near = plugins.nearest(name, [*ours, *theirs])
        hint = f"did you mean '{near}'?" if near else f"zdd's own are {', '.join(ours)}"
        return [f"augmentation: there is no '{name}' here or in torchvision.transforms.v2; {hint}"]
    if name in MIRRORING and not mirror_safe:
        return [f"augmentation: {name} mirrors, but dataset.mirror_safe is false; leave it out"]
    parameters = inspect.signature(theirs[name]).parameters
    lines = [_unknown(name, key, parameters) for key in section.options if key not in parameters]
    missing = [key for key, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    lines += [f"augmentation.{name}: needs {key}" for key in missing if key not in section.options]
    if "transforms" in section.options and not lines:
        try:
            lines += [line for one in _nested(section.options["transforms"]) for line in _mistakes(one, mirror_safe)]
        except ZddError as error:
            lines += error.lines
    return lines


def _unknown(name: str, key: str, known: Iterable[str]) -> str:
    near = plugins.nearest(key, known)
    hint = f"did you mean '{near}'?" if near else f"it takes {', '.join(known) or 'none'}"
    return f"augmentation.{name}.{key}: there is no such setting; {hint}"


def _transforms() -> dict[str, type[v2.Transform]]:
    """The transform classes of torchvision.transforms.v2; Lambda is left out, it takes code."""
    found = {name: getattr(v2, name) for name in dir(v2) if name[0].isupper() and name not in ("Transform", "Lambda")}
    return {name: one for name, one in found.items() if isinstance(one, type) and issubclass(one, v2.Transform)}
