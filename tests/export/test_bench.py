"""Timing: against a clock that the test turns by hand, and a few times against the real one."""

import itertools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from zdd import bench
from zdd.bench import Plan, Timing


class Hand:
    """A clock that stands still but for what callables take."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now_s

    def takes(self, name: str, ms: Iterable[float]) -> Callable[[], None]:
        """A callable that takes these times one after the other, over and over."""
        times = itertools.cycle(ms)

        def call() -> None:
            self.order.append(name)
            self.now_s += next(times) / 1000

        return call


def timing(rounds_ms: list[float], calls_ms: list[float] | None = None) -> Timing:
    return Timing(0.0, np.array(calls_ms or rounds_ms), np.array(rounds_ms), True)


def test_a_stall_in_one_of_a_hundred_calls_shows_in_the_tail_and_nowhere_else() -> None:
    hand = Hand()
    runners = {"smooth": hand.takes("smooth", [1.0]), "stalls": hand.takes("stalls", [1.0] * 99 + [21.0])}
    found = bench.measure(runners, Plan(seconds=10, warm_up_s=0.01, least_calls=5000), clock=hand)
    smooth, stalls = found["smooth"].as_dict(), found["stalls"].as_dict()
    assert stalls["p50_ms"] == pytest.approx(smooth["p50_ms"]) == pytest.approx(1.0)
    assert stalls["p90_ms"] == pytest.approx(1.0)
    assert stalls["p99_9_ms"] == pytest.approx(21.0)
    assert stalls["max_ms"] == pytest.approx(21.0)
    assert smooth["p99_9_ms"] == pytest.approx(1.0)
    assert stalls["stable"]
    assert found["stalls"].late(20.0)[0] == pytest.approx(0.01, abs=0.002)
    assert stalls["mean_ms"] == pytest.approx(1.2, abs=0.03)  # (99 x 1 + 21) / 100


def test_a_stall_shows_on_the_real_clock_too() -> None:
    count = itertools.count(1)

    def works(stalls: bool) -> None:
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end:
            pass
        if stalls and next(count) % 100 == 0:
            time.sleep(0.02)

    runners = {"smooth": lambda: works(False), "stalls": lambda: works(True)}
    found = bench.measure(runners, Plan(seconds=6, warm_up_s=0.01, least_calls=1500))
    assert found["stalls"].as_dict()["p99_9_ms"] >= 20
    assert found["stalls"].p50_ms < 2 * found["smooth"].p50_ms  # to the digit: by the clock that is turned by hand
    assert found["stalls"].fault is None


def test_callables_take_turns_in_changing_order() -> None:
    hand = Hand()
    runners = {name: hand.takes(name, [10.0]) for name in "abc"}
    bench.measure(runners, Plan(seconds=3, warm_up_s=0.0, least_calls=10**9), clock=hand)
    turns = [name for name, _ in itertools.groupby(hand.order[3 * bench.LEAST_WARM_UP :])]
    rounds = ["".join(turns[at : at + 3]) for at in range(0, len(turns) - 3, 3)]
    assert len(set(rounds)) > 1
    assert all(0.2 < share < 0.5 for share in (hand.order.count(name) / len(hand.order) for name in "abc"))


def test_what_disturbs_the_machine_disturbs_all_alike() -> None:
    """The machine gets slower by 1 % a call, for a while: the ratio of two engines stays what it is, 2."""
    hand, calls = Hand(), itertools.count()

    def slower(ms: float) -> Callable[[], None]:
        def call() -> None:
            hand.now_s += ms * (1 + 0.01 * min(next(calls), 300)) / 1000

        return call

    found = bench.measure({"a": slower(20), "b": slower(10)}, Plan(seconds=20, warm_up_s=0.0), clock=hand)
    value, low, high = bench.ratio(found["a"], found["b"])
    assert value == pytest.approx(2, rel=0.02)
    assert low is not None
    assert high is not None
    assert low <= value <= high


def test_it_goes_on_until_the_median_is_known_and_stops_then() -> None:
    hand = Hand()
    found = bench.measure({"even": hand.takes("even", [1.0])}, Plan(seconds=100, least_calls=1000), clock=hand)["even"]
    assert found.stable
    assert 1000 <= len(found.latency_ms) < 1100
    assert hand.now_s < 3


def test_time_that_is_up_says_unstable() -> None:
    hand = Hand()
    wild = hand.takes("wild", np.random.default_rng(0).uniform(10, 100, 997).tolist())
    found = bench.measure({"wild": wild}, Plan(seconds=2, least_calls=1), clock=hand)["wild"]
    assert not found.stable
    assert found.as_dict()["stable"] is False
    assert hand.now_s < 3  # the round under way is finished, no more


def test_too_few_rounds_are_never_stable() -> None:
    hand = Hand()
    found = bench.measure({"slow": hand.takes("slow", [1000.0])}, Plan(seconds=8, least_calls=1), clock=hand)["slow"]
    assert len(found.rounds_ms) < 6
    assert not found.stable
    assert found.as_dict()["p50_interval_ms"] is None


@pytest.mark.parametrize(("swing", "stable"), [(0.01, True), (0.019, True), (0.021, False), (0.03, False)])
def test_two_percent_is_of_the_median(swing: float, stable: bool) -> None:
    hand = Hand()
    runner = hand.takes("x", [50.0] * 3 + [50.0 * (1 + swing)] * 3)  # a block is one untimed call and two timed ones
    plan = Plan(seconds=8, warm_up_s=0.0, block_s=0.1, least_calls=1)
    assert bench.measure({"x": runner}, plan, clock=hand)["x"].stable is stable


def test_the_first_call_is_kept_apart() -> None:
    hand = Hand()
    slow_once = itertools.chain([5000.0], itertools.repeat(1.0))
    found = bench.measure({"compiled": hand.takes("c", slow_once)}, Plan(seconds=1), clock=hand)["compiled"]
    assert found.first_ms == pytest.approx(5000)
    assert found.as_dict()["max_ms"] == pytest.approx(1.0)


@pytest.fixture
def pool() -> Iterable[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as workers:
        yield workers


def test_a_runner_that_gives_a_future_is_caught(pool: ThreadPoolExecutor) -> None:
    plan = Plan(seconds=0.2, warm_up_s=0.0, block_s=0.02)
    runners = {"future": lambda: {"score": pool.submit(time.sleep, 0.004)}, "waits": lambda: time.sleep(0.004)}
    found = bench.measure(runners, plan)
    assert "does not synchronise" in str(found["future"].fault)
    assert found["waits"].fault is None
    assert found["waits"].p50_ms >= 4


def test_a_runner_that_only_queues_is_caught_by_draining(pool: ThreadPoolExecutor) -> None:
    begun: list[object] = []

    def queue() -> None:
        begun.append(pool.submit(time.sleep, 0.004))

    plan = Plan(seconds=0.2, warm_up_s=0.0, block_s=0.02)
    found = bench.measure({"queues": queue}, plan, drain=lambda: bench.finish(list(begun)))["queues"]
    assert "does not synchronise" in str(found.fault)


@pytest.mark.parametrize(("held_up", "fault"), [(8, False), (9, True)])
def test_another_process_in_between_is_not_taken_for_work_left_behind(held_up: int, fault: bool) -> None:
    """Time for one round, and it was held up at its end: then calls are asked alone, of which so many are, too."""
    hand = Hand()
    alone = [0.0] * (bench.ASKED_AGAIN - held_up) + [0.001] * held_up
    waits = iter([0.0] * (bench.LEAST_WARM_UP + 1) + [0.001] + alone)

    class Said:
        def cpu(self) -> None:
            hand.now_s += next(waits)

    works = hand.takes("works", [1.0])
    found = bench.measure({"x": lambda: (works(), Said())[1]}, Plan(seconds=0.001, warm_up_s=0.0), clock=hand)["x"]
    assert (found.fault is not None) is fault
    assert next(waits, None) is None


def test_a_lazy_tensor_is_caught() -> None:
    class Lazy:
        def cpu(self) -> None:
            time.sleep(0.004)

    class LazyArray:
        def __array__(self, *_: object, **__: object) -> np.ndarray:  # type: ignore[type-arg]
            time.sleep(0.004)
            return np.zeros(1)

    runners = {"tensor": lambda: (Lazy(),), "array": lambda: [LazyArray()], "there": lambda: {"score": np.zeros(3)}}
    found = bench.measure(runners, Plan(seconds=0.2, warm_up_s=0.0, block_s=0.01))
    assert [name for name, each in found.items() if each.fault] == ["tensor", "array"]


def test_a_buffer_that_is_filled_after_the_call_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What TensorRT's execute_async without a synchronisation does: here the device is done when 20 ms have passed."""
    buffer, due = np.zeros(1), list[float]()

    def later(at: int) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        due.append(at + 1)
        return {"score": buffer}

    def passes(wait_s: float) -> None:
        if wait_s > 0.02:
            buffer.fill(due.pop())

    monkeypatch.setattr(bench.time, "sleep", passes)
    assert bench.fills_later(later, wait_s=0.1)
    assert not bench.fills_later(lambda at: {"score": np.full(1, at + np.nan)}, wait_s=0.0)


def test_what_a_runner_raises_is_handed_on() -> None:
    def fails() -> None:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        bench.measure({"fails": fails})


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0)],  # of 1..1000: each one was measured
)
def test_quantiles_are_values_that_were_measured(share: float, value: float) -> None:
    assert bench.quantile(np.arange(1.0, 1001.0)[::-1], share) == value


def test_with_fewer_than_a_thousand_calls_the_tail_is_the_maximum() -> None:
    assert bench.quantile(np.array([1.0] * 998 + [7.0]), 0.999) == 7.0


def test_the_interval_of_a_median_by_order_statistics() -> None:
    assert bench.median_interval([1.0, 2, 3, 4, 5]) is None  # 2 x 1/32 > 0.05
    assert bench.median_interval([6.0, 1, 2, 3, 4, 5]) == (1, 6)  # 2 x 1/64 <= 0.05
    # n = 10: P(X <= 1) = 11/1024 = 0.011, P(X <= 2) = 56/1024 = 0.055: so the second and the ninth
    assert bench.median_interval([float(i) for i in range(1, 11)]) == (2, 9)


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng, n = np.random.default_rng(1), 2000
    hits = 0
    for _ in range(n):
        between = bench.median_interval(rng.exponential(size=15))
        assert between is not None
        hits += between[0] <= np.log(2) <= between[1]
    assert 0.95 <= hits / n <= 0.98  # 15 values: exactly 1 - 2 x 576/32768 = 0.965


def test_a_share_of_parts_misses_the_beat() -> None:
    calls = timing([1.0], [10.0] * 97 + [60.0] * 3)
    share, bound = calls.late(50.0)
    assert share == 0.03
    assert bound == pytest.approx(0.0757, abs=1e-4)  # Clopper-Pearson, 3 of 100
    assert calls.late(60.0)[0] == 0  # on the beat is in time
    assert calls.late(5.0) == (1.0, 1.0)


def test_throughput_counts_slow_calls_too() -> None:
    assert timing([1.0], [10.0, 10.0, 40.0]).images_per_s(8) == pytest.approx(400)  # 24 images in 60 ms


def test_ratios_need_the_same_rounds() -> None:
    six = timing([2.0, 4, 6, 8, 10, 12])
    assert bench.ratio(six, timing([1.0, 2, 3, 4, 5, 6])) == (2, 2, 2)  # drift cancels out
    with pytest.raises(ValueError, match="6 rounds and 1"):
        bench.ratio(six, timing([1.0]))


def test_the_front_is_what_nothing_beats() -> None:
    cost, gain = [1.0, 2, 3, 2, 1], [0.8, 0.9, 0.9, 0.7, 0.8]
    assert bench.pareto(cost, gain) == [True, True, False, False, True]  # two alike both stay
    assert bench.pareto([], []) == []
