"""How long calls take, measured so that the figures can be believed: pure functions of callables and a clock.

The callables take turns: in every round each of them runs for a short while, in an order that is drawn anew, so that
whatever disturbs the machine disturbs all of them alike. Nothing that was timed is thrown away.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from zdd.stats import CONFIDENCE, at_most

Call = Callable[[], object]  # runs to its end; what it gives back is only looked at to see that it did
Clock = Callable[[], float]  # seconds
Answer = Mapping[str, NDArray[Any]]
QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p99_9_ms": 0.999}
LEAST_WARM_UP = 3  # calls
LEAST_BLOCK = 2  # calls
LEFT_SHARE, LEFT_S = 0.25, 100e-6  # what a call may leave undone: of its own time, and in any case
ASKED_AGAIN = 11  # calls of a suspect, each alone


@dataclass(frozen=True)
class Plan:
    """How long and how surely to measure.

    Args:
        seconds: For all callables together, warm-up not counted; the round that is under way then is finished.
        warm_up_s: For each callable, and at least 3 calls.
        block_s: How long a callable runs before the next has its turn, and at least 2 calls.
        interval: Widest interval of the median, as a share of it, that counts as stable.
        least_calls: Of each callable; 1000 are the fewest whose p99.9 is not just the maximum.
        seed: Of the order in each round.
    """

    seconds: float = 20.0
    warm_up_s: float = 0.3
    block_s: float = 0.05
    interval: float = 0.02
    least_calls: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Timing:
    """What was measured of a callable. `fault` says why its times must not be believed, if so."""

    first_ms: float  # the very first call
    latency_ms: NDArray[np.float64]  # (N,) every timed call, in order
    rounds_ms: NDArray[np.float64]  # (R,) the median of each round
    stable: bool
    fault: str | None = None

    @property
    def p50_ms(self) -> float:
        """Median of all calls."""
        return quantile(self.latency_ms, 0.5)

    def images_per_s(self, batch: int = 1) -> float:
        """Images a second, the slow calls included, where each call takes `batch` images."""
        return 1000 * batch / float(np.mean(self.latency_ms))

    def late(self, takt_ms: float) -> tuple[float, float]:
        """The share of calls that take longer than the line's beat, and the most that it may be (95 %, exact)."""
        n, late = len(self.latency_ms), int(np.count_nonzero(self.latency_ms > takt_ms))
        return late / n, at_most(late, n)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, without the single calls."""
        between = median_interval(self.rounds_ms)
        return {
            **{name: quantile(self.latency_ms, share) for name, share in QUANTILES.items()},
            "max_ms": float(self.latency_ms.max()),
            "mean_ms": float(self.latency_ms.mean()),
            "p50_interval_ms": None if between is None else list(between),
            "first_ms": self.first_ms,
            "calls": len(self.latency_ms),
            "rounds": len(self.rounds_ms),
            "stable": self.stable,
            "fault": self.fault,
        }


def measure(
    runners: Mapping[str, Call],
    plan: Plan | None = None,
    *,
    drain: Call | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Time each callable, in rounds, until every median is known well enough or the time is up.

    Before a callable's turn it runs once untimed, for the first call after another's turn finds cold caches, which no
    production line ever sees. All other calls count, however slow.

    Args:
        runners: Callables by name; what they raise is handed on.
        plan: How long and how surely.
        drain: Waits for all that was begun (`torch.cuda.synchronize`). A callable that leaves it something to wait for
            does not synchronise, and gets a `fault`; so does one that gives back what isn't there yet (`finish`).
        clock: Seconds, monotonic.

    Returns:
        The timing of each, in the order given; not `stable` where time was up before the median was known.
    """
    plan = plan or Plan()
    logs = {name: _Log(call, drain, clock) for name, call in runners.items()}
    for log in logs.values():
        log.warm_up(plan)
    turns, order = list(logs.values()), random.Random(plan.seed)
    begun = clock()
    while turns:
        order.shuffle(turns)
        for log in turns:
            log.block()
        if all(log.settled(plan) for log in turns) or clock() - begun >= plan.seconds:
            break
    return {name: log.timing(plan) for name, log in logs.items()}


@dataclass
class _Log:
    """The calls of one callable so far, in seconds."""

    call: Call
    drain: Call | None
    clock: Clock
    first_s: float = 0.0
    size: int = LEAST_BLOCK
    calls: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)  # what a round's calls left undone

    def warm_up(self, plan: Plan) -> None:
        begun = self.clock()
        times: list[float] = []
        while len(times) < LEAST_WARM_UP or self.clock() - begun < plan.warm_up_s:
            times.append(self._timed(self._whole))
        self.first_s = times[0]
        self.size = max(LEAST_BLOCK, round(plan.block_s / max(statistics.median(times[1:]), 1e-7)))

    def block(self) -> None:
        self._whole()
        times, said = [], None
        for _ in range(self.size):
            begun = self.clock()
            said = self.call()
            times.append(self.clock() - begun)
        self.left.append(self._timed(lambda: self._finish(said)))
        self.calls += times
        self.rounds.append(statistics.median(times))

    def settled(self, plan: Plan) -> bool:
        return len(self.calls) >= plan.least_calls and self._stable(plan)

    def timing(self, plan: Plan) -> Timing:
        latency_ms, rounds_ms = 1000 * np.array(self.calls), 1000 * np.array(self.rounds)
        return Timing(1000 * self.first_s, latency_ms, rounds_ms, self._stable(plan), self._fault())

    def _stable(self, plan: Plan) -> bool:
        between = median_interval(self.rounds)
        return between is not None and between[1] - between[0] <= plan.interval * statistics.median(self.calls)

    def _fault(self) -> str | None:
        if not self._too_much(statistics.median(self.left)):
            return None
        # After a block the way to `finish` is cold, and a busy machine holds it up: 0.3 ms of a 0.1 ms engine. Asked
        # alone, one who does not synchronise leaves work every time.
        left = statistics.quantiles((self._left_by_one() for _ in range(ASKED_AGAIN)), n=4)[0]
        if not self._too_much(left):
            return None
        return f"does not synchronise: {1000 * left:.3g} ms of work were left when its calls had returned"

    def _too_much(self, left: float) -> bool:
        return left > max(LEFT_SHARE * statistics.median(self.calls), LEFT_S)

    def _left_by_one(self) -> float:
        said = self.call()
        return self._timed(lambda: self._finish(said))

    def _whole(self) -> None:
        self._finish(self.call())

    def _finish(self, said: object) -> None:
        finish(said)
        if self.drain is not None:
            self.drain()

    def _timed(self, call: Call) -> float:
        begun = self.clock()
        call()
        return self.clock() - begun


def finish(said: object) -> None:
    """Wait until what a call gave back is there, in the host's memory: futures, tensors on a GPU, lazy arrays."""
    if isinstance(said, Mapping):
        said = list(said.values())
    if isinstance(said, list | tuple):
        for part in said:
            finish(part)
    elif isinstance(said, Future):
        finish(said.result())
    elif hasattr(said, "cpu"):  # a tensor
        said.cpu()
    elif hasattr(said, "__array__") and not isinstance(said, np.ndarray | np.generic):
        np.asarray(said)


def fills_later(run: Callable[[int], Answer], *, wait_s: float) -> bool:
    """Whether what a runner gives back still changes after its call: it did not wait for the device.

    `run` is called with 0 and with 1, for two different inputs; after `wait_s` seconds any call is over.
    """
    run(0)
    time.sleep(wait_s)
    said = run(1)
    at_once = {name: np.array(value) for name, value in said.items()}
    time.sleep(wait_s)
    return any(not np.array_equal(at_once[name], np.asarray(said[name]), equal_nan=True) for name in at_once)


def quantile(values: NDArray[np.float64], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed: one that was measured, never between."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def median_interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % interval of a median, by order statistics (no assumption on the distribution); None below 6 values.

    Give it the rounds' medians, not single calls: what disturbs a machine lasts longer than a call.
    """
    ordered, n = np.sort(np.asarray(values)), len(values)
    inner = int(np.count_nonzero(special.bdtr(np.arange(n), n, 0.5) <= (1 - CONFIDENCE) / 2)) - 1
    return None if inner < 0 else (float(ordered[inner]), float(ordered[n - 1 - inner]))


def ratio(reference: Timing, other: Timing) -> tuple[float, float | None, float | None]:
    """How many times as fast `other` is as `reference`, with its 95 % interval: round by round, of one `measure`.

    Raises:
        ValueError: If they were not measured in the same rounds.
    """
    if len(reference.rounds_ms) != len(other.rounds_ms):
        raise ValueError(f"{len(reference.rounds_ms)} rounds and {len(other.rounds_ms)}: not of one measurement")
    each = reference.rounds_ms / other.rounds_ms
    low, high = median_interval(each) or (None, None)
    return float(np.median(each)), low, high


def pareto(cost: Sequence[float], gain: Sequence[float]) -> list[bool]:
    """Which points no other beats: none is at least as cheap and as good, and better in one of the two."""
    points = list(zip(cost, gain, strict=True))
    return [not any(c <= x and g >= y and (c, g) != (x, y) for c, g in points) for x, y in points]
