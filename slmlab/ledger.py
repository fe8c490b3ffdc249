"""Rows of (what, count, bits, place) whose totals check themselves, and the one spelling of counts and bytes.

>>> weights = Ledger("BitNet b1.58 2B4T", [
...     Row("ternary weights", 2_084_044_800, 2),
...     Row("embedding", 328_335_360, 16),
... ])
>>> format_bytes(weights.bytes)
'1.18 GB (1.10 GiB)'
"""

import html
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction


class LedgerError(ValueError):
    """A row that cannot be, a place that no row has, or a total that differs from the expected one."""


@dataclass(frozen=True)
class Row:
    """`count` values of `bits` each (fractions allowed: 1.6 is five trits to a byte), held at `place`."""

    what: str
    count: int
    bits: float
    place: str = ""

    def __post_init__(self):
        if operator.index(self.count) < 0:
            raise LedgerError(f"{self.what}: count is {self.count}, wanted 0 or more")
        if not 0 <= self.bits < math.inf:
            raise LedgerError(f"{self.what}: bits is {self.bits}, wanted a finite number, 0 or more")

    @property
    def bytes(self) -> int:
        """Whole bytes, rounded up. The decimal digits of `bits` are taken as exact: 5 values of 1.6 bits are 1 byte."""
        return math.ceil(operator.index(self.count) * Fraction(str(self.bits)) / 8)


@dataclass(frozen=True)
class Ledger:
    """A title and its rows; `count` and `bytes` are their sums."""

    title: str
    rows: Sequence[Row]

    def __post_init__(self):
        object.__setattr__(self, "rows", tuple(self.rows))

    @property
    def count(self) -> int:
        return sum(row.count for row in self.rows)

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    def select(self, place: str) -> "Ledger":
        """The rows held at `place`. LedgerError names the places there are when no row has it."""
        rows = [row for row in self.rows if row.place == place]
        if not rows:
            places = ", ".join(sorted({repr(row.place) for row in self.rows})) or "none"
            raise LedgerError(f"{self.title}: no row is at place {place!r}; there are {places}")
        return Ledger(f"{self.title}, {place}", rows)

    def check(self, count: int | None = None, bytes: int | None = None) -> "Ledger":
        """This ledger, if its totals are the given ones; else LedgerError with both numbers and the difference."""
        for name, got, wanted in (("count", self.count, count), ("bytes", self.bytes, bytes)):
            if wanted is not None and got != wanted:
                raise LedgerError(
                    f"{self.title}: the rows add up to {name} {got:,}, wanted {wanted:,} "
                    f"(difference {got - wanted:+,}). Compare the rows:\n{self}"
                )
        return self

    def __str__(self) -> str:
        header, *rows = self._cells()
        return f"{self.title}\n{table(header, rows, left=(0, len(header) - 1))}"

    def _repr_html_(self) -> str:
        header, *rows = self._cells()
        return f"<p><b>{html.escape(self.title)}</b></p>{html_table(header, rows, left=(0, len(header) - 1))}"

    def _cells(self) -> list[list[str]]:
        """Header, one list a row, total; the place column only when a row has a place."""
        cells = [["what", "count", "", "bits", "bytes", "", "place"]]
        for row in self.rows:
            cells.append([row.what, *_counted(row.count), f"{row.bits:g}", *_measured(row.bytes), row.place])
        cells.append(["total", *_counted(self.count), "", *_measured(self.bytes), ""])
        if not any(row.place for row in self.rows):
            cells = [line[:-1] for line in cells]
        return cells


def _counted(count: int) -> tuple[str, str]:
    return f"{count:,}", format_count(count) if count >= 1000 else ""


def _measured(size: int) -> tuple[str, str]:
    return f"{size:,}", format_bytes(size) if size >= 1000 else ""


def format_count(count: int) -> str:
    """Three digits and a power of 1000: 2_412_820_480 -> '2.41 B' (billion), 268_098_176 -> '268 M', 12 -> '12'."""
    value, unit = _scaled(count, 1000, ("", "k", "M", "B", "T"))
    return f"{value} {unit}".rstrip()


def format_bytes(size: int) -> str:
    """Powers of 1000, then of 1024: 1_177_681_920 -> '1.18 GB (1.10 GiB)'. Under 1000: '512 bytes'."""
    if size < 1000:
        return f"{size} bytes"
    decimal, unit = _scaled(size, 1000, ("bytes", "kB", "MB", "GB", "TB"))
    binary, binary_unit = _scaled(size, 1024, ("bytes", "KiB", "MiB", "GiB", "TiB"))
    return f"{decimal} {unit} ({binary} {binary_unit})"


def _scaled(number: int, base: int, units: Sequence[str]) -> tuple[str, str]:
    power, value = 0, float(number)
    while value >= base - 0.5 and power + 1 < len(units):  # from base - 0.5 on it would print as `base`
        power, value = power + 1, value / base
    if power == 0:
        return str(number), units[0]
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}", units[power]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Text columns two spaces apart; columns whose index is in `left` are left-aligned, the others right-aligned."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    padded = (
        [cell.ljust(widths[i]) if i in left else cell.rjust(widths[i]) for i, cell in enumerate(line)] for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in padded)


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """The same as an HTML table, every cell escaped."""

    def line(cells: Sequence[str], tag: str) -> str:
        align = ["left" if i in left else "right" for i in range(len(cells))]
        return "".join(
            f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>'
            for side, cell in zip(align, cells, strict=True)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(header, 'th')}</tr></thead><tbody>{body}</tbody></table>"
