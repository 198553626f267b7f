"""What an NVIDIA GPU says of itself, through the driver's own library (NVML): energy, clocks, what slows it down."""

import ctypes
from typing import Any, Self

LIBRARY = "libnvidia-ml.so.1"
SM_CLOCK = 1  # NVML_CLOCK_SM
# Bits of nvmlDeviceGetCurrentClocksThrottleReasons that slow a computation down (nvml.h); being idle is none.
THROTTLED = {0x04: "power cap", 0x08: "hardware", 0x20: "software, heat", 0x40: "hardware, heat", 0x80: "power brake"}


class Gpu:
    """One GPU. Every question is answered with None where the driver does not know."""

    def __init__(self, library: Any, device: Any) -> None:
        self._library, self._device = library, device

    @classmethod
    def open(cls, index: int = 0) -> Self | None:
        """The GPU with this number; None where there is none, or no driver."""
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError:
            return None
        device = ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
            return None
        return cls(library, device)

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; the difference of two answers is what was used between."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong())
        return None if millijoules is None else millijoules / 1000

    def clock_mhz(self) -> int | None:
        """Of the multiprocessors, now."""
        return self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint(), SM_CLOCK)

    def throttled_by(self) -> list[str] | None:
        """What holds the clocks back now; nothing: []."""
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong())
        return None if bits is None else [name for bit, name in THROTTLED.items() if bits & bit]

    def _ask(self, function: str, answer: Any, *arguments: int) -> int | None:
        failed = getattr(self._library, function)(self._device, *arguments, ctypes.byref(answer))
        return None if failed else int(answer.value)
