"""How soon the command line answers: help and a refused experiment, beside an empty Python, in turn.

python scripts/bench_start.py [rounds]; exit code 1 if one takes 0.4 s or more.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
LIMIT_S = 0.4
REFUSED = (
    '{"dataset": {"name": "folder", "root": "x"}, "model": {"name": "classifier", "backbone": "resnet81"}, "epoch": 1}'
)


def took_s(command: list[str], code: int) -> float:
    """Wall time of one process, whose exit code must be `code`."""
    started = time.perf_counter()
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    duration = time.perf_counter() - started
    if result.returncode != code:
        raise SystemExit(f"{' '.join(command)}: exit code {result.returncode}, not {code}\n{result.stderr}")
    return duration


def main(rounds: int) -> int:
    """Time each command `rounds` times in turn; medians."""
    with tempfile.TemporaryDirectory() as folder:
        refused = Path(folder) / "refused.json"
        refused.write_text(REFUSED)
        commands = {
            "python -c pass": ([sys.executable, "-c", "pass"], 0),
            "train.py --help": ([sys.executable, "train.py", "--help"], 0),
            "train.py refused.json": ([sys.executable, "train.py", str(refused)], 2),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (command, code) in commands.items():
                times[name].append(took_s(command, code))
    median = {name: statistics.median(values) for name, values in times.items()}
    empty = median["python -c pass"]
    for name, seconds in median.items():
        spread = f"{min(times[name]):.3f} to {max(times[name]):.3f}"
        print(f"{name:24s} {seconds:.3f} s ({spread}), {seconds / empty:.1f} x an empty Python", file=sys.stderr)
    within = all(seconds < LIMIT_S for seconds in median.values())
    print(json.dumps({"rounds": rounds, "limit_s": LIMIT_S, "within": within, "median_s": median}))
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
