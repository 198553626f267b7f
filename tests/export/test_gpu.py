"""What NVML is asked, against a library that answers as the driver's does."""

import ctypes
from typing import Any

import pytest

from zdd import gpu
from zdd.gpu import Gpu


class Nvml:
    """Writes its answers where the pointer says, and 0 for success; 3 (not supported) for what it doesn't know."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers
        self.asked: list[tuple[Any, ...]] = []

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self.answers.get("init", 0)

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:  # noqa: N802
        self.asked.append((index,))
        return self.answers.get("handle", 0)

    def __getattr__(self, name: str) -> Any:
        def ask(_: Any, *arguments: Any) -> int:
            self.asked.append((name, *arguments[:-1]))
            if name not in self.answers:
                return 3
            arguments[-1]._obj.value = self.answers[name]
            return 0

        return ask


def test_it_reads_energy_clock_and_throttling(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(
        nvmlDeviceGetTotalEnergyConsumption=12_500,  # millijoules
        nvmlDeviceGetClockInfo=1980,
        nvmlDeviceGetCurrentClocksThrottleReasons=0x01 | 0x04 | 0x40,  # idle, power cap, heat
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda _: nvml)
    found = Gpu.open(1)
    assert found is not None
    assert nvml.asked[0] == (1,)
    assert found.energy_j() == 12.5
    assert found.clock_mhz() == 1980
    assert nvml.asked[-1] == ("nvmlDeviceGetClockInfo", gpu.SM_CLOCK)
    assert found.throttled_by() == ["power cap", "hardware, heat"]


def test_what_the_driver_does_not_know_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Nvml())
    found = Gpu.open()
    assert found is not None
    assert (found.energy_j(), found.clock_mhz(), found.throttled_by()) == (None, None, None)


@pytest.mark.parametrize("answers", [{"init": 9}, {"handle": 2}])  # no driver runs; no such GPU
def test_no_gpu_is_none(answers: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Nvml(**answers))
    assert Gpu.open() is None


def test_no_driver_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LIBRARY", "libthere-is-none.so.1")
    assert Gpu.open() is None
