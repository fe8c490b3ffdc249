"""What this machine says about its own energy: the counters of its processor, its battery, or why there is neither.

Linux shows the counters of Intel's and AMD's processors (RAPL, running average power limit) as files. They count what
the processor takes, cores and caches and memory controller, and on some servers the memory. They know nothing of the
screen, the disk or the power supply. A battery knows everything that is on, and looks only every few seconds.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MACOS = (
    "macOS shows its counter to the administrator alone: run `sudo powermetrics --samplers cpu_power -i 1000` in a "
    "terminal while the cell runs, and put the watts that it prints into PACKAGE_WATTS"
)


class NoMeterError(RuntimeError):
    """There is nothing to read energy from; the message says why, and what would help."""


@dataclass(frozen=True)
class Usage:
    """Joules over seconds, and what counted them: {"package-0": joules, ...}."""

    joules: float
    seconds: float
    parts: Mapping[str, float]

    @property
    def watts(self) -> float:
        return self.joules / self.seconds

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {joules:.3g} J" for name, joules in self.parts.items())
        return f"{self.joules:.3g} J in {self.seconds:.2f} s, {self.watts:.3g} W ({parts})"


@dataclass(frozen=True)
class Meter:
    """A name, and a function that begins to count and returns one that ends it: seconds -> joules by part.

    measures: False where the joules follow from watts that somebody gave
    """

    name: str
    begin: Callable[[], Callable[[float], dict[str, float]]]
    measures: bool = True


def given(watts: float) -> Meter:
    """A stand-in where there is no meter: so many watts, all the time. What comes of it is an estimate."""
    return Meter(f"{watts:g} W as given", lambda: lambda seconds: {"given": watts * seconds}, measures=False)


def metered(
    counter: Meter, call: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> tuple[Usage, object]:
    """Run `call` once under the meter; what was used, and what the call returned."""
    end = counter.begin()
    start = clock()
    result = call()
    seconds = clock() - start
    parts = end(seconds)
    return Usage(math.fsum(parts.values()), seconds, parts), result


def meter(root: Path = Path("/sys/class"), system: str | None = None) -> Meter:
    """The best meter of this machine: the processor's counters, else a battery that is in use.

    NoMeterError says why there is none. `root` and `system` are for tests.
    """
    system = platform.system() if system is None else system
    if system == "Darwin":
        raise NoMeterError(MACOS)
    if system != "Linux":
        raise NoMeterError(f"{system} shows no energy counter to Python: take a plug meter, and put in its watts")
    zones, refused = _zones(root / "powercap")
    if zones:
        return Meter(", ".join(zone.name for zone in zones), lambda: _count(zones))
    battery = _battery(root / "power_supply")
    if battery:
        return Meter(f"battery {battery.name}", lambda: _discharge(battery))
    if refused:
        raise NoMeterError(
            f"the processor counts its energy in {refused}, and only root may read it (since 2020, because the counts "
            "betray what other programs do: CVE-2020-8694). `sudo chmod a+r` on that file lends it to you until the "
            "next start"
        )
    where = "a virtual machine or a container hides them" if root.is_dir() else f"{root} is not there"
    raise NoMeterError(f"no counters in {root / 'powercap'} ({where}), and no battery that is being discharged")


# ----------------------------------------------------------------------------------------------------------------- RAPL


@dataclass(frozen=True)
class _Zone:
    name: str
    file: Path
    range_uj: int  # the count goes from 0 to this, and begins again at 0

    def read(self) -> int:
        return int(self.file.read_text(encoding="ascii"))


def _zones(powercap: Path) -> tuple[list[_Zone], Path | None]:
    """The packages, and memory where it has a count of its own; and a file that may not be read, if there is one.

    Zones lie in one another: "core" and "uncore" are parts of a package, and "psys" contains the packages. Each is
    counted once.
    """
    found, refused = [], None
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text(encoding="ascii").strip()
            if not (name.startswith("package") or name == "dram"):
                continue
            zone = _Zone(name, folder / "energy_uj", int((folder / "max_energy_range_uj").read_text(encoding="ascii")))
            zone.read()
        except PermissionError:
            refused = folder / "energy_uj"
            continue
        except OSError:
            continue
        if name == "dram":
            zone = _Zone(f"dram of {folder.name.rpartition(':')[0]}", zone.file, zone.range_uj)
        found.append(zone)
    return found, refused


def _count(zones: list[_Zone]) -> Callable[[float], dict[str, float]]:
    before = [zone.read() for zone in zones]

    def end(_seconds: float) -> dict[str, float]:
        parts = {}
        for zone, start in zip(zones, before, strict=True):
            now = zone.read()
            parts[zone.name] = (now - start if now >= start else now + zone.range_uj + 1 - start) / 1e6
        return parts

    return end


# -------------------------------------------------------------------------------------------------------------- battery


def _battery(supplies: Path) -> Path | None:
    """The folder of a battery that is being discharged and tells its power."""
    for folder in sorted(supplies.glob("*")) if supplies.is_dir() else []:
        if _text(folder / "type") == "Battery" and _text(folder / "status") == "Discharging" and _watts(folder):
            return folder
    return None


def _watts(battery: Path) -> float | None:
    power_uw = _text(battery / "power_now")
    if power_uw.isdecimal():
        return int(power_uw) / 1e6
    current_ua, voltage_uv = _text(battery / "current_now"), _text(battery / "voltage_now")
    if current_ua.isdecimal() and voltage_uv.isdecimal():
        return int(current_ua) * int(voltage_uv) / 1e12
    return None


def _discharge(battery: Path) -> Callable[[float], dict[str, float]]:
    """Mean of the power at both ends, times the seconds: good for a load that lasts longer than the battery's look."""
    before = _watts(battery)

    def end(seconds: float) -> dict[str, float]:
        after = _watts(battery)
        known = [watts for watts in (before, after) if watts is not None]
        if not known:
            raise NoMeterError(f"{battery} stopped telling its power: was the charger put in?")
        return {battery.name: seconds * sum(known) / len(known)}

    return end


def _text(file: Path) -> str:
    """A file of /sys, without its line end; "" where there is none or it may not be read."""
    try:
        return file.read_text(encoding="ascii").strip() if os.access(file, os.R_OK) else ""
    except OSError:
        return ""
