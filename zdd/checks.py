"""Is this a configuration? Every mistake is found at once, before torch is imported."""

from typing import Any

from pydantic import ConfigDict, ValidationError

from zdd import crosschecks, options
from zdd.located import Key
from zdd.plugins import REQUIRED, SAID, Option, available, nearest, one_of
from zdd.plugins import unknown as unknown_plugin
from zdd.settings import BACKBONES, Config, DatasetSettings, Grade, Rate, Section, Strict
from zdd.wording import ABSENT, Mistake, mistakes, unknown

SHARED = tuple(name for name in DatasetSettings.model_fields if name != "options")
NOTHING = Section(name="?")  # stands for a section that has mistakes, so that the rest can be checked


class OptimizerSettings(Strict):
    """What is known of torch's optimizers without torch; zdd.models.build checks the other keywords, with it."""

    model_config = ConfigDict(extra="allow")

    name: str
    lr: Rate = 1.0


class SchedulerSettings(Strict):
    """The same of torch's schedulers."""

    model_config = ConfigDict(extra="allow")

    name: str


def check(value: dict[str, Any]) -> tuple[Config | None, list[Mistake]]:
    """Check a merged configuration.

    Args:
        value: Plain JSON, with every shared setting in it.

    Returns:
        The configuration, with the plug-ins' own defaults filled in, or none; and what is wrong.
    """
    found: list[Mistake] = []
    parts: dict[str, Any] = {}
    for name, given in value.items():
        if name in Config.model_fields:
            parts[name] = _part(name, given, found)
        else:
            found.append(Mistake((name,), given, _stray(name)))
    config = None
    try:
        config = Config.model_validate(parts)
    except ValidationError as error:
        found += [new for new in mistakes(error, Config, (), value) if not _below(new.key, found)]
    found += crosschecks.find(value, {mistake.key for mistake in found})
    return (None if found else config), found


def _below(key: Key, found: list[Mistake]) -> bool:
    return any(key[: len(mistake.key)] == mistake.key for mistake in found)


def _part(name: str, given: Any, found: list[Mistake]) -> Any:
    match name:
        case "dataset":
            return _dataset(given, found)
        case "model" | "criterion":
            return plugin_section(name, (name,), given, found)
        case "augmentation":
            return _augmentations(given, found)
        case "explain":
            return _explainers(given, found)
        case "optimizer":
            return _torch(OptimizerSettings, name, given, found)
        case "scheduler":
            return None if given is None else _torch(SchedulerSettings, name, given, found)
        case "grades" if isinstance(given, list):
            return _grades(given, found)
    return given


def _named(key: Key, given: Any, example: str, found: list[Mistake]) -> dict[str, Any] | None:
    """A section as an object: a bare name is one."""
    if isinstance(given, str):
        return {"name": given}
    if isinstance(given, dict):
        return given
    found.append(Mistake(key, given, f'must be a name or a section such as {{"name": "{example}"}}'))
    return None


def plugin_section(kind: str, key: Key, given: Any, found: list[Mistake]) -> Section:
    """A plug-in by name with its settings, complete and checked; what is wrong is added to `found`."""
    known = available(kind)
    section = _named(key, given, "classifier" if kind == "model" else next(iter(known), "..."), found)
    if section is None:
        return NOTHING
    name = section.get("name", ABSENT)
    if not isinstance(name, str):
        found.append(Mistake((*key, "name"), name, f"must be the name of a {SAID.get(kind, kind)}; {one_of(known)}"))
    elif name in known:
        return Section(name=name, options=_options(kind, name, key, section, found))
    elif kind == "model" and name in BACKBONES:
        found.append(
            Mistake((*key, "name"), name, f'that is a backbone: {{"name": "classifier", "backbone": "{name}"}}')
        )
    else:
        found.append(Mistake((*key, "name"), name, unknown_plugin(kind, name)))
    return NOTHING


def _options(kind: str, name: str, key: Key, section: dict[str, Any], found: list[Mistake]) -> dict[str, Any]:
    """A plug-in's own settings, complete."""
    known = available(kind)[name].options
    given = {option: value for option, value in section.items() if option != "name"}
    values = {}
    for option in known.values():
        value = given.get(option.name, option.default)
        if value is not REQUIRED:
            values[option.name] = _nested(option, key, value, found) if option.is_section else value
    shared = SHARED if kind == "dataset" else ()
    found += [
        Mistake((*key, stray), value, _not_taken(kind, name, stray, (*shared, *known)))
        for stray, value in given.items()
        if stray not in known
    ]
    model = options.model(kind, name)
    try:
        return dict(model.model_validate(values))
    except ValidationError as error:
        found += mistakes(error, model, key, values)
        return {}


def _nested(option: Option, key: Key, value: Any, found: list[Mistake]) -> Any:
    """A plug-in within a plug-in, of the kind that the option is called."""
    if value is None:
        return None  # right or wrong: the option's type knows
    if isinstance(value, dict) and "name" not in value and isinstance(option.default, dict):
        value = {"name": option.default["name"], **value}
    return plugin_section(option.name, (*key, option.name), value, found)


def _dataset(given: Any, found: list[Mistake]) -> Any:
    section = _named(("dataset",), given, "folder", found)
    if section is None:
        return None
    own = {name: value for name, value in section.items() if name not in SHARED}
    plugin = plugin_section("dataset", ("dataset",), {**own, "name": section.get("name", ABSENT)}, found)
    return {**{name: value for name, value in section.items() if name in SHARED}, "options": plugin.options}


def _augmentations(given: Any, found: list[Mistake]) -> list[Section]:
    if not isinstance(given, list):
        return [_augmentation(("augmentation",), given, found)]
    return [_augmentation(("augmentation", place), item, found) for place, item in enumerate(given)]


def _explainers(given: Any, found: list[Mistake]) -> list[Section]:
    if not isinstance(given, list):
        return [plugin_section("explain", ("explain",), given, found)]
    return [plugin_section("explain", ("explain", place), item, found) for place, item in enumerate(given)]


def _augmentation(key: Key, given: Any, found: list[Mistake]) -> Section:
    section = _named(key, given, "simple", found)
    if section is None:
        return NOTHING
    name = section.get("name")
    if isinstance(name, str) and name[:1].isupper() and name not in available("augmentation"):
        return Section(name=name, options={option: value for option, value in section.items() if option != "name"})
    before = len(found)
    plugin = plugin_section("augmentation", key, section, found)
    if len(found) > before and found[-1].key == (*key, "name"):
        wrong = found.pop()
        text = f"{wrong.text} (a class of torchvision.transforms.v2 is spelt as there: RandomRotation)"
        found.append(Mistake(wrong.key, wrong.value, text))
    return plugin


def _torch(model: type[Strict], key: str, given: Any, found: list[Mistake]) -> Section:
    section = _named((key,), given, "SGD" if key == "optimizer" else "CosineAnnealingLR", found)
    if section is None:
        return NOTHING
    try:
        model.model_validate(section)
    except ValidationError as error:
        found += mistakes(error, model, (key,), section)
        return NOTHING
    return Section(name=section["name"], options={option: section[option] for option in section if option != "name"})


def _grades(given: list[Any], found: list[Mistake]) -> list[Any]:
    before, example = len(found), '{"name": "Major", "above_percent": 0.5, "discount_percent": 50}'
    for place, item in enumerate(given):
        key = ("grades", place)
        if not isinstance(item, dict):
            found.append(Mistake(key, item, f"must be a section such as {example}"))
            continue
        try:
            Grade.model_validate(item)
        except ValidationError as error:
            found += mistakes(error, Grade, key, item)
    return given if len(found) == before else []


def _not_taken(kind: str, name: str, option: str, known: tuple[str, ...]) -> str:
    others = [other for other, plugin in available(kind).items() if option in plugin.options]
    text = unknown(option, known, f"the {SAID.get(kind, kind)} '{name}' takes no {option}")
    if others and not nearest(option, known):
        text += f" ({option} is a setting of {', '.join(others)})"
    return text.replace("there are: ", "it takes: ").replace("there are none", "it takes no settings")


def _stray(name: str) -> str:
    """What to say of a setting that is none: the nearest, in whatever section it stands."""
    near = nearest(name, Config.model_fields)
    inside = [f"{section}.{name}" for section, below in _sections() if name in below]
    if inside and name != near:
        return f"there is no such setting; did you mean '{inside[0]}'?"
    return unknown(name, Config.model_fields)


def _sections() -> list[tuple[str, set[str]]]:
    """Every section and the names of its settings, of whatever plug-in."""
    found = [("optimizer", {"lr", "momentum", "weight_decay", "betas"})]
    for name, fields in Config.model_fields.items():
        if isinstance(fields.annotation, type) and issubclass(fields.annotation, Strict):
            found.append((name, set(fields.annotation.model_fields) - {"options"}))
        if name in ("dataset", "model", "criterion"):
            found += [(name, set(plugin.options)) for plugin in available(name).values()]
    return found
