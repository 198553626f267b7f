"""What a whole configuration is, once it has been read and checked. No torch here.

The defaults lie in configs/DEFAULT.json (shared settings) and in the plug-ins' signatures (their own), never here.
"""

import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Side = Annotated[int, Field(ge=8, le=8192)]

BACKBONES = (
    "resnet18", "resnet50", "mobilenet_v2", "efficientnet_b1", "efficientnet_v2_s", "shufflenet_v2_x1_0",
    "convnext_tiny", "vit_b_16", "swin_t", "alexnet", "vgg16", "squeezenet1_1", "xception", "dino_vits8", "luna",
)  # fmt: skip


def _known_backbone(name: str) -> str:
    if name in BACKBONES or (name.startswith("timm/") and len(name) > len("timm/")):
        return name
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(BACKBONES)}, or timm/<name>"
    raise ValueError(f"there is no such backbone; {hint}")


Baseline = Annotated[Literal["black", "mean", "blur"], Field()]  # the image that an attribution compares with
Backbone = Annotated[
    str,
    AfterValidator(_known_backbone),
    WithJsonSchema({"anyOf": [{"enum": list(BACKBONES)}, {"type": "string", "pattern": "^timm/.+"}]}),
]


def _both_sides(size: Any) -> Any:
    """A bare number is a square."""
    return (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, list) else size


_SIDE = {"type": "integer", "minimum": 8, "maximum": 8192}
ImageSize = Annotated[
    tuple[Side, Side],
    BeforeValidator(_both_sides),
    WithJsonSchema({"anyOf": [_SIDE, {"type": "array", "items": _SIDE, "minItems": 2, "maxItems": 2}]}),
]


class Strict(BaseModel):
    """A section: unknown keys are refused, values keep their type, nothing changes after the check."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )


class Section(Strict):
    """A plug-in by name with its own options, written flat in JSON: {"name": "focal", "gamma": 2.0}."""

    name: str
    options: dict[str, Any] = {}

    def flat(self) -> dict[str, Any]:
        """The section as it stands in JSON."""
        return {"name": self.name, **self.options}


class SplitSettings(Strict):
    """How a data set without a split of its own is split."""

    val: Share
    test: Share
    seed: int


class DatasetSettings(Strict):
    """Where the images are and what is known of them; `options` are the source's own."""

    name: str
    root: str
    good_class: str | None  # "auto": one of the known names; null: every class is a kind of defect
    classes: list[str] | None  # the class list that must be found, or null for whatever there is
    group: str | None  # regular expression on the file name; its first bracket is the part's serial number
    split: SplitSettings
    mirror_safe: bool  # false: the mirrored part is another part (printed text), so it is never flipped
    unreadable: Literal["refuse", "skip"]
    leakage: Literal["warn", "refuse", "ignore"]
    defects: Literal["kinds", "one"]  # one: all kinds of defect are put together into one class, "defect"
    contamination: Share  # of methods that learn from good parts alone: defects among them, as a share of the good
    held_out: str | None  # a class that is never trained on; tested whether it is recognised as unknown
    ood: str | None  # a folder of images that belong to no class, for the same test
    options: dict[str, Any] = {}


class PreprocessSettings(Strict):
    """From a file to the network's input; stored with the model and used everywhere."""

    fit: Literal["letterbox", "squeeze", "crop"]
    channels: Literal["rgb", "gray"]  # gray: one brightness, repeated to the three channels that every backbone takes
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: Annotated[list[float], Field(min_length=3, max_length=3)]  # of values in [0, 1]
    std: Annotated[list[Rate], Field(min_length=3, max_length=3)]


class LoaderSettings(Strict):
    """How images reach the network."""

    workers: Count | None  # processes that load; null: chosen by zdd
    cache: bool  # keep decoded, resized images on disk
    cache_gb: Rate


class ThresholdSettings(Strict):
    """How the threshold on the score is chosen on validation images (never on test images)."""

    rule: Literal["youden", "false_alarms", "missed", "quantile", "fixed"]
    target: Amount | None  # false_alarms, missed: the largest share; quantile: the share passed; fixed: the threshold


class Grade(Strict):
    """What a part is worth by its defect area; the highest grade whose bound is exceeded counts, else "none"."""

    name: str
    above_percent: Annotated[float, Field(ge=0, lt=100)]  # of the picture's area
    discount_percent: Annotated[float, Field(ge=0, le=100)]  # off the price


class TrainerSettings(Strict):
    """Lightning's Trainer."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: Positive
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"]
    accumulate: Positive  # batches whose gradients are added up before a step
    gradient_clip: Amount  # largest norm of the gradient; 0 is off
    channels_last: bool
    compile: bool
    deterministic: bool
    threads: Positive | None  # CPU threads of torch; null: torch's choice


class Config(Strict):
    """A checked configuration: the only thing that the rooms above rank 1 read settings from."""

    about: str
    seed: Count
    dataset: DatasetSettings
    image_size: ImageSize  # height, width; one number is both
    preprocess: PreprocessSettings
    augmentation: list[Section]  # zdd's by name, or torchvision.transforms.v2 classes
    model: Section
    criterion: Section
    optimizer: Section  # torch.optim
    scheduler: Section | None  # torch.optim.lr_scheduler, stepped once an epoch
    epochs: Positive
    batch_size: Positive  # images a step, over all devices
    monitor: Literal["val/loss", "val/accuracy", "val/balanced_accuracy", "val/f1", "val/auroc", "val/iou", "val/dice"]
    early_limit: Count
    replacement_limit: Count
    threshold: ThresholdSettings
    mm_per_pixel: Rate | None  # of the original pictures; defect areas are then given in mm2, too
    grades: list[Grade]  # by defect area, with discounts
    explain: list[Section]  # explainers of which a test adds pictures to its report
    loader: LoaderSettings
    trainer: TrainerSettings
