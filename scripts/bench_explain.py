"""How many explanations a second each explainer gives, of images in batches and one by one, and their ratio.

python scripts/bench_explain.py [--backbones resnet18 vit_b_16] [--variants saliency] [--images 16] [--device cuda]
"""

import argparse
import json
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from zdd import plugins
from zdd.attributions import subject_of
from zdd.explain.base import Subject, Unfit
from zdd.models.build import build
from zdd.records import Task
from zdd.settings import Section


def per_second(subject: Subject, variant: str, batches: Sequence[Tensor]) -> float:
    """Of explanations, brought to the processor's memory; the first batch is explained once before."""
    attribute, started = plugins.load("explain", variant), 0.0
    for at, image in enumerate((batches[0], *batches)):
        started = time.perf_counter() if at == 1 else started
        attribute(subject, image, torch.ones(len(image), dtype=torch.int64, device=image.device)).values.cpu()
    return sum(map(len, batches)) / (time.perf_counter() - started)


def measure(subject: Subject, variant: str, image: Tensor) -> dict[str, object]:
    """Explanations a second in batches and one by one, and their ratio; or why there are none."""
    try:
        batched = per_second(subject, variant, [image])
    except Unfit as unfit:
        return {"unfit": str(unfit)}
    single = per_second(subject, variant, image[: max(1, len(image) // 4)].split(1))  # a part of them is enough
    return {"batched_per_s": round(batched, 3), "single_per_s": round(single, 3), "ratio": round(batched / single, 2)}


def main() -> None:
    """A line of JSON for each backbone and explainer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["resnet18"])
    parser.add_argument("--variants", nargs="+", default=list(plugins.available("explain")))
    for name, default in (("--size", 224), ("--images", 16), ("--device", "cpu")):
        parser.add_argument(name, type=type(default), default=default)
    given = parser.parse_args()
    task = Task(("good", "defect"), True, (given.size, given.size))
    image = torch.rand(given.images, 3, *task.image_size, device=given.device)
    for backbone in given.backbones:
        section = Section(name="classifier", options={"backbone": backbone, "weights": "none"})
        subject = subject_of(build(section, task).eval().to(given.device))
        for variant in given.variants:
            found = {"backbone": backbone, "variant": variant, **measure(subject, variant, image)}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
