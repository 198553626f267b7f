"""A plain torchvision fine-tune, as anyone would write it: the baseline that zdd must not be worse than.

python scripts/baseline_finetune.py data/casting_cls --backbone mobilenet_v2 --weights mobilenet_v2.pth --seed 0
The last epoch's weights are tested by argmax on ROOT/test; prints one JSON line.
"""

import argparse
import json
import sys
import time

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision.transforms import v2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="a folder with train/<class>/ and test/<class>/")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", help="a torchvision state dict; without it the net starts from scratch")
    for name, default in (("size", 160), ("epochs", 8), ("batch", 32), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("lr", 0.01), ("momentum", 0.9), ("decay", 0.0005)):
        parser.add_argument(f"--{name}", type=float, default=default)
    return parser.parse_args()


def network(args: argparse.Namespace, n_classes: int) -> torch.nn.Module:
    net = models.get_model(args.backbone)
    if args.weights:
        net.load_state_dict(torch.load(args.weights, weights_only=True))
    if args.backbone.startswith("squeezenet"):
        net.classifier[1] = torch.nn.Conv2d(512, n_classes, 1)
    elif hasattr(net, "fc"):
        net.fc = torch.nn.Linear(net.fc.in_features, n_classes)
    else:
        net.classifier[-1] = torch.nn.Linear(net.classifier[-1].in_features, n_classes)
    return net.to(memory_format=torch.channels_last)


def main() -> None:
    args, start = arguments(), time.perf_counter()
    torch.manual_seed(args.seed)
    normalise = v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), normalise]
    seen = v2.Compose([v2.Resize((args.size, args.size)), *last])
    augmented = v2.Compose([v2.Resize((args.size, args.size)), v2.RandomHorizontalFlip(), *last])
    train = datasets.ImageFolder(f"{args.root}/train", augmented)
    test = datasets.ImageFolder(f"{args.root}/test", seen)
    net = network(args, len(train.classes))
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(args.epochs):
        net.train()
        for image, label in DataLoader(train, args.batch, shuffle=True, num_workers=1):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(image), label).backward()
            optimizer.step()
        schedule.step()
        print(f"epoch {epoch + 1}/{args.epochs}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    net.eval()
    with torch.no_grad():
        right = sum((net(image).argmax(1) == label).sum().item() for image, label in DataLoader(test, args.batch))
    took_s = time.perf_counter() - start
    print(json.dumps({**vars(args), "accuracy": right / len(test), "n": len(test), "took_s": took_s}))


if __name__ == "__main__":
    main()
