"""Settings that are right and would do nothing: refused before a training, unless they are the defaults."""

import json
from collections.abc import Callable
from typing import Any

from zdd import config as configuration
from zdd import layers
from zdd.located import plain
from zdd.models.base import ZddModel
from zdd.plugins import available
from zdd.settings import Config

# Of methods that go through the training images once: the setting, and the value that says it is off.
ONE_PASS = {"optimizer": None, "scheduler": None, "epochs": 1, "early_limit": 0, "replacement_limit": 0}
# Of methods that draw images: no figure tells when they were best, so that the last weights are kept.
GENERATIVE: dict[str, Any] = {"early_limit": 0, "replacement_limit": 0, "threshold": None, "explain": []}
AREAS = ("mm_per_pixel", "grades")  # of methods that say which pixels are defective
# A method's setting that only counts with another one: that one, the value it then has, and how that is said.
WITH: dict[str, tuple[str, Callable[[Any], bool], str]] = {
    "overlap": ("tile", lambda tile: tile is not None, "model.tile"),
    "top_share": ("score", lambda score: score == "top_k", "model.score = 'top_k'"),
}


def find(config: Config, made: type[ZddModel]) -> list[str]:
    """A line for each setting that differs from its default and that the method does not read.

    Args:
        config: Checked, with every default in it.
        made: The method's class.
    """
    name, given, default = config.model.name, configuration.as_dict(config), plain(layers.defaults())
    lines = []
    if made.one_pass:
        why = f"the model '{name}' goes through the images once and minimises nothing; take it out"
        lines += [_line(key, given[key], why) for key, off in ONE_PASS.items() if given[key] not in (default[key], off)]
    if made.generative:
        why = f"the model '{name}' judges no image, and its last weights are kept; take it out"
        off = {key: value for key, value in GENERATIVE.items() if given[key] not in (default[key], value)}
        lines += [_line(key, given[key], why) for key in off]
    if not made.pixelwise:
        why = f"the model '{name}' does not say which pixels are defective, so there are no areas; take it out"
        lines += [_line(key, given[key], why) for key in AREAS if given[key] != default[key]]
    return lines + _lonely(given["model"], name)


def _lonely(section: dict[str, Any], name: str) -> list[str]:
    options = available("model")[name].options
    lines = []
    for key, (other, counts, said) in WITH.items():
        if key in options and other in section and section[key] != options[key].default and not counts(section[other]):
            lines.append(_line(f"model.{key}", section[key], f"does nothing without {said}; take it out, or set that"))
    return lines


def _line(key: str, value: Any, why: str) -> str:
    return f"{key} = {json.dumps(value)}: {why}"
