"""A plain training with segmentation_models_pytorch, as anyone would write it: what zdd's U-Net must not be worse than.

pip install segmentation_models_pytorch
python scripts/baseline_smp.py data/lgp_seg --weights mobilenet_v2.pth --bf16 --seed 0
The last epoch's weights are tested on ROOT/test; prints one JSON line with the defect pixels' IoU over the whole set.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

PADDING = 255  # in masks


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a folder with train/ and test/, images/ and masks/ in each")
    parser.add_argument("--encoder", default="mobilenet_v2")
    parser.add_argument(
        "--weights", help="a torchvision state dict of the encoder; without it training is from scratch"
    )
    for name, default in (("size", 224), ("epochs", 20), ("batch", 16), ("seed", 0), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("lr", 0.001), ("decay", 0.01)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16 where torch's autocast does")
    return parser.parse_args()


def load(root: Path, size: int, *, binary: bool) -> tuple[Tensor, Tensor]:
    """(N, 3, size, size) float32 normalised and (N, size, size) classes; the long side fits, the rest is padding."""
    images, masks = [], []
    for path in sorted((root / "images").iterdir()):
        image, mask = Image.open(path).convert("RGB"), Image.open(root / "masks" / f"{path.stem}.png")
        mask = mask.point([0] + [1] * 255) if binary else mask
        scale = size / max(image.size)
        fitted = [max(1, round(side * scale)) for side in image.size]
        pixels, classes = np.zeros((size, size, 3), np.uint8), np.full((size, size), PADDING, np.uint8)
        pixels[: fitted[1], : fitted[0]] = image.resize(fitted, Image.Resampling.BILINEAR)
        classes[: fitted[1], : fitted[0]] = mask.resize(fitted, Image.Resampling.NEAREST)
        images.append(torch.from_numpy(pixels).permute(2, 0, 1))
        masks.append(torch.from_numpy(classes))
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (torch.stack(images) / 255 - mean) / std, torch.stack(masks).long()


def train(net: torch.nn.Module, image: Tensor, mask: Tensor, args: argparse.Namespace) -> None:
    several, start = net.segmentation_head[0].out_channels > 1, time.perf_counter()
    dice = smp.losses.DiceLoss("multiclass" if several else "binary")
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=args.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs)
    for epoch in range(args.epochs):
        net.train()
        for rows in torch.randperm(len(image)).split(args.batch):
            x, y = image[rows].contiguous(memory_format=torch.channels_last), mask[rows]
            for axis in (2, 3):  # each image is flipped or not
                flip = (torch.rand(len(x)) < 0.5).nonzero()[:, 0]
                x[flip], y[flip] = x[flip].flip(axis), y[flip].flip(axis - 1)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                logits = net(x)
            logits, y = logits.float(), torch.where(y == PADDING, 0, y)
            ce = F.cross_entropy(logits, y) if several else F.binary_cross_entropy_with_logits(logits[:, 0], y.float())
            optimizer.zero_grad()
            (ce + dice(logits, y)).backward()
            optimizer.step()
        if epoch + 1 < args.epochs:
            schedule.step()
        print(f"epoch {epoch + 1}/{args.epochs}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def counts(net: torch.nn.Module, image: Tensor, mask: Tensor) -> tuple[int, int, int, int]:
    """Defect pixels found, invented, missed; and images whose verdict (any defect pixel) is right."""
    net.eval()
    with torch.no_grad():
        logits = torch.cat([net(part) for part in image.split(16)])
    said = (logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0] > 0) > 0
    said, truth = said & (mask != PADDING), (mask > 0) & (mask != PADDING)
    right = said.flatten(1).any(1) == truth.flatten(1).any(1)
    return int((said & truth).sum()), int((said & ~truth).sum()), int((~said & truth).sum()), int(right.sum())


def main() -> None:
    args, start = arguments(), time.perf_counter()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    names = args.root / "classes.json"
    n_classes = len(json.loads(names.read_text())) if names.is_file() else 2
    seen, test = (load(args.root / split, args.size, binary=n_classes == 2) for split in ("train", "test"))
    net = smp.Unet(args.encoder, encoder_weights=None, classes=n_classes if n_classes > 2 else 1)
    if args.weights:
        net.encoder.load_state_dict(torch.load(args.weights, weights_only=True))
    train(net.to(memory_format=torch.channels_last), *seen, args)
    tp, fp, fn, right = counts(net, *test)
    said = {"iou": tp / (tp + fp + fn), "dice": 2 * tp / (2 * tp + fp + fn), "right": right, "n": len(test[0])}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    print(json.dumps({**plain, **said, "took_s": round(time.perf_counter() - start)}))


if __name__ == "__main__":
    main()
