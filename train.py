"""python train.py ... is zdd train ...: see zdd/cli.py."""

from zdd.cli import main

if __name__ == "__main__":
    raise SystemExit(main("train"))
