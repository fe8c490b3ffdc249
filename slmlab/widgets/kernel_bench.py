"""What a kernel reaches here, measured while the controls move: beside the strongest 16-bit kernel and memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import ipywidgets

from cython_kernels import FORMATS, active, backends, threads
from cython_kernels.bench import Bench, Row, single
from slmlab import figures

from .view import View

SHAPES = ((2560, 2560), (6912, 2560), (2560, 6912), (640, 2560))  # N, K: q and o, gate and up, down, k and v of 2B4T
TOKENS = (1, 2, 4, 8, 16, 32, 64)
REPETITIONS, SAMPLE_S = 3, 1e-3  # so that a product of one token is measured in a tenth of a second
LONG_MACS = 20_000_000  # from here on a bar says that something is going on


@dataclass(frozen=True, eq=False)
class State:
    """What figures.kernel_bench draws.

    chosen: "format/backend"; row is its row
    rows: all contenders measured at the same shape, tokens and threads
    path: of this shape and these threads: the chosen contender and the 16-bit ones, at all tokens measured so far
    """

    chosen: str
    row: Row
    rows: tuple[Row, ...]
    path: tuple[Row, ...]

    @property
    def title(self) -> str:
        tokens = "1 token" if self.row.M == 1 else f"{self.row.M} tokens"
        workers = "1 thread" if self.row.threads == 1 else f"{self.row.threads} threads"
        return f"{self.chosen}: {self.row.what}, {tokens}, {workers}"

    @property
    def numbers(self) -> str:
        ratio = "" if self.row.ratio is None else f"{self.row.ratio[1]:.2f} times as fast as {self.row.baseline} · "
        return (
            f"{1e3 * self.row.ms[1]:,.0f} µs · {ratio}{self.row.gb_per_s:.1f} GB/s of weights, "
            f"{self.row.share[1]:.0%} of the read limit"
        )

    def __str__(self) -> str:
        rate = f"{self.row.gmac_per_s:.3g} billion multiply-accumulates per second"
        bound = "reading the weights" if self.row.share[1] > 0.7 else "something else than memory"
        return f"{rate}. Here {bound} is the limit: memory gave {self.row.read_limit_gb_per_s:.1f} GB/s meanwhile."


def state(rows: Iterable[Row], what: str, M: int, threads: int, chosen: str) -> State:
    """Pick what belongs together out of all that was measured. Of rows of one contender and setting the last counts.

    LookupError when the chosen contender was not measured at this setting.
    """
    newest = {(row.what, row.M, row.threads, row.contender): row for row in rows if row.macs}
    if (what, M, threads, chosen) not in newest:
        raise LookupError(f"{chosen} was not measured for {what}, {M} tokens, {threads} threads")
    same = [row for (shape, _, team, _), row in newest.items() if (shape, team) == (what, threads)]
    return State(
        chosen=chosen,
        row=newest[what, M, threads, chosen],
        rows=tuple(row for row in same if row.M == M),
        path=tuple(row for row in same if row.contender == chosen or row.format in ("fp16", "bf16")),
    )


class KernelBench(View):
    """Choose a product and a kernel, and see at once what it reaches on this machine.

    bench: whose weights are used
    own: names of contenders in bench.OTHERS, "2bit/yours" for instance
    rows: what was measured before, drawn without measuring again

    Attributes: the controls `shape`, `tokens`, `threads`, `format`, `backend` and `again`; `rows`, all that was
    measured; `state`, what is drawn now.
    """

    def __init__(self, bench: Bench, own: Sequence[str] = (), rows: Iterable[Row] = ()):
        self._bench, self._own, self.rows = bench, tuple(own), list(rows)
        usable = [row.name for row in backends() if row.built and row.supported]
        usable = usable[: usable.index(active().name) + 1]  # SLMLAB_KERNEL may name a lower rung
        usable = usable[1:] or usable  # NumPy only where there is nothing else
        left = {"style": {"description_width": "64px"}, "layout": {"width": "290px"}}
        right = {"style": {"description_width": "64px"}, "layout": {"width": "400px"}}
        shapes = [(f"{N} x {K}", (N, K)) for N, K in SHAPES]
        self.shape = ipywidgets.Dropdown(options=shapes, description="N x K", **left)
        self.format = ipywidgets.Dropdown(
            options=[name for name in FORMATS if name != "int8"], description="format", **left
        )
        self.backend = ipywidgets.Dropdown(
            options=usable + [name.partition("/")[2] for name in own], value=usable[-1], description="backend", **left
        )
        self.tokens = ipywidgets.SelectionSlider(options=TOKENS, description="tokens", **right)
        most = max(threads(), 1)
        self.threads = ipywidgets.IntSlider(
            min=1, max=max(most, 2), value=1, description="threads", disabled=most == 1, **right
        )
        self.again = ipywidgets.Button(description="measure again", layout={"width": "150px"})
        self.again.on_click(self._measure_again)
        columns = [[self.shape, self.format, self.backend], [self.tokens, self.threads, self.again]]
        boxes = [ipywidgets.VBox(column) for column in columns]
        super().__init__([ipywidgets.HBox(boxes, layout={"flex_flow": "row wrap"})], [])
        self._start(self.shape, self.tokens, self.threads, self.format, self.backend)

    def _redraw(self, again: bool = False) -> None:
        own = f"2bit/{self.backend.value}" in self._own
        self.format.disabled = own
        if own:
            self.format.value = "2bit"
        N, K = self.shape.value
        work, team = single(N, K, self.tokens.value), self.threads.value
        setting = work.name, work.M, team, f"{self.format.value}/{self.backend.value}"
        try:
            if again:
                raise LookupError
            self.state = state(self.rows, *setting)
        except LookupError:
            if work.macs > LONG_MACS:
                self.text.value = "<label><progress></progress> measuring</label>"
            self.rows += self._bench.measure(
                work, [setting[-1]], threads=team, repetitions=REPETITIONS, sample_s=SAMPLE_S
            )
            self.state = state(self.rows, *setting)
        self.plot.figure = figures.kernel_bench(self.state)
        self._say(str(self.state))

    def _measure_again(self, _button: ipywidgets.Button) -> None:
        with self._showing_trouble():
            self._redraw(again=True)
