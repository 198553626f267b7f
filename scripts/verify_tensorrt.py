"""Proves the whole path of TensorRT here: every way and precision, built, read back and held to the trained model.

    python scripts/verify_tensorrt.py runs/casting_mobilenet/latest/run_0 [--precision fp32 fp16 int8] [--images 200]

Prints a table: built or why not, seconds to build, the largest error of the score, labels and verdicts that differ, and
the latency of one image beside torch's on the same GPU. Without a run it proves random networks of the zoo, which shows
that they convert and nothing of accuracy. Exit code 0: all that TensorRT itself should do it does; 1: it does not.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from zdd.data import dataset as datasets
from zdd.errors import ZddError
from zdd.export import tensorrt, tensorrt_engine
from zdd.export.graph import Whole
from zdd.models import backbones
from zdd.records import Prediction
from zdd.rundir import finished_runs
from zdd.trained import load_trained

NETS = ("resnet18", "mobilenet_v2", "efficientnet_b1", "convnext_tiny", "vit_b_16", "swin_t")
SIZE = 224
MUST = ("fp32", "fp16", "int8")  # of the way "tensorrt"; the others are told, and may fail
ALLOWED = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.1, "int8": 0.25}  # largest error of the score


def main() -> int:
    """Verify what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--precision", nargs="+", choices=tuple(ALLOWED), default=["fp32", "fp16", "bf16", "int8"])
    parser.add_argument("--ways", nargs="+", choices=tensorrt.BACKENDS, default=list(tensorrt.BACKENDS))
    parser.add_argument("--images", type=int, default=200, metavar="N", help="of the test split (200)")
    parser.add_argument("--largest_batch", type=int, default=16, metavar="N")
    args = parser.parse_args()
    try:
        here, trt = tensorrt_engine.gpu(), tensorrt_engine.binding()
        subjects = [trained(run, args.images) for run in args.runs] or [drawn(name) for name in NETS]
    except ZddError as error:
        print(f"verify_tensorrt.py: {error}", file=sys.stderr)
        return 2
    print(f"{here.name} ({here.capability}), CUDA {here.cuda}, torch {torch.__version__}, TensorRT {trt.__version__}")
    print(
        f"{'model':24} {'way':15} {'precision':9} {'build s':>8} {'error':>9} {'labels':>7} {'ms':>8} {'torch ms':>8}"
    )
    good = True
    for name, whole, example, images in subjects:
        for way in args.ways:
            for precision in args.precision:
                fine, line = verify(whole, example, images, way, precision, args.largest_batch, here.device)
                print(f"{name[-24:]:24} {way:15} {precision:9} {line}", flush=True)
                good &= fine or way != "tensorrt" or precision not in MUST
    print("all that TensorRT itself should do, it does" if good else "TensorRT does not do all that it should")
    return 0 if good else 1


def trained(path: Path, n: int) -> tuple[str, Whole, np.ndarray, np.ndarray]:
    """A finished run's model, training images and test images."""
    run = finished_runs(path)[1][0]
    model = load_trained(run)
    dataset = datasets.load(run.data)

    def pixels(split: str, n: int) -> np.ndarray:
        records = dataset.split(split)
        chosen = [records[i] for i in np.linspace(0, len(records) - 1, min(n, len(records))).round().astype(int)]
        return np.stack([model.preprocess.load(Path(record.path)) for record in chosen])

    whole = Whole(model.model.net, model.model.decode, model.preprocess.mean, model.preprocess.std)
    return str(run.path), whole, pixels("train", 64), pixels("test", n)


def drawn(name: str) -> tuple[str, Whole, np.ndarray, np.ndarray]:
    """A network of the zoo at a random start, and smooth noise."""
    torch.manual_seed(0)
    net = backbones.build(name, 3, (SIZE, SIZE))
    with torch.no_grad():
        for parameter in net.parameters():  # heads that start at 0 would say the same of every image
            parameter.add_(0.01 * torch.randn_like(parameter))

    def decode(raw: torch.Tensor, image: torch.Tensor) -> Prediction:  # noqa: ARG001 (every decode takes the image)
        probability = raw.softmax(1)
        return Prediction(probability[:, 1:].sum(1), raw.argmax(1), probability)

    coarse = np.random.default_rng(0).integers(0, 256, (40, 7, 7, 3), dtype=np.uint8)
    images = coarse.repeat(SIZE // 7, 1).repeat(SIZE // 7, 2)
    return name, Whole(net, decode, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), images[:16], images


def verify(
    whole: Whole, example: np.ndarray, images: np.ndarray, way: str, precision: str, largest: int, device: str
) -> tuple[bool, str]:
    """Build one engine; whether it is as near as it should be, and the table's line."""
    whole = whole.cpu()
    expected = whole.run(images)
    with tempfile.TemporaryDirectory() as name:
        begun = time.perf_counter()
        try:
            tensorrt.export(whole, example, Path(name), precision=precision, backend=way, largest_batch=largest)
            took, engine = time.perf_counter() - begun, tensorrt.load(Path(name))
            said = engine(images)
        except (ZddError, RuntimeError) as error:
            return False, f"refused: {str(error).splitlines()[0][:150]}"
        ms = latency(lambda: engine(images[:1]))
    there = whole.to(device)
    torch_ms = latency(lambda: there.run(images[:1]))
    whole.cpu()
    error = float(np.abs(said["score"] - expected["score"]).max())
    flips = int((said["label"] != expected["label"]).sum()) if "label" in expected else 0
    spread = max(1.0, float(np.abs(expected["score"]).max()))
    fine = error <= ALLOWED[precision] * spread and len(said["score"]) == len(images)
    return fine, f"{took:8.1f} {error:9.2e} {flips:3}/{len(images):<3} {ms:8.3f} {torch_ms:8.3f}"


def latency(call: Callable[[], object], n: int = 100) -> float:
    """Median milliseconds of a call that returns when its numbers are on the host."""
    for _ in range(10):
        call()
    took = []
    for _ in range(n):
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return 1000 * statistics.median(took)


if __name__ == "__main__":
    sys.exit(main())
