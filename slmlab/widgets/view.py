"""What every widget stands on: a plot that redraws in place, and a frame that shows a failure instead of losing it.

Why a plot of our own: moving a slider must redraw the figure within 100 ms. Three ways were timed in JupyterLab 4.6
on one figure of 80 kB, from the key press to the frame with the new figure (medians of 22 moves, two quiet cores):

    a plotly Figure in an Output widget     246 ms   its renderer draws each figure three times: itself, a copy of it
                                                     for a PNG, and once more on the next update of the page
    a FigureWidget, changed in place        146 ms   with the changed properties picked by hand; 221 ms with all of
                                                     them; each carries 5 MB of plotly.js in its state
    this Plot                               105 ms   the figure as JSON, and one Plotly.react

Nothing comes from the network: the kernel sends the plotly.js of the plotly package, once a page.
"""

import html
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import anywidget
import ipywidgets
import plotly.graph_objects as go
import traitlets
from plotly.offline import get_plotlyjs

RENDER = """
function plotly(model) {
  if (globalThis.slmlabPlotly) return globalThis.slmlabPlotly;
  return new Promise((resolve) => {
    model.on("msg:custom", (message, [source]) => {
      if (!globalThis.slmlabPlotly) {
        // as a CommonJS module: in a page with RequireJS it would else hand itself to that, under no name
        const module = { exports: {} };
        new Function("module", "exports", "define", new TextDecoder().decode(source))(module, module.exports);
        globalThis.slmlabPlotly = module.exports;
      }
      resolve(globalThis.slmlabPlotly);
    });
    model.send("plotly.js");
  });
}

// ipywidgets writes a slider's name and value beside it, but does not give them to the handle that a reader hears.
function nameSliders(view) {
  for (const slider of view?.querySelectorAll(".widget-slider") ?? []) {
    const handle = slider.querySelector(".noUi-handle");
    handle?.setAttribute("aria-label", slider.querySelector(".widget-label")?.textContent);
    handle?.setAttribute("aria-valuetext", slider.querySelector(".widget-readout")?.textContent);
  }
}

// A menu has the focus, and its arrow keys go to another cell: JupyterLab asks only the very element not to take them.
function keepKeys(view) {
  for (const menu of view?.querySelectorAll("select") ?? []) menu.setAttribute("data-lm-suppress-shortcuts", "true");
}

export default {
  async render({ model, el }) {
    const node = el.appendChild(document.createElement("div"));
    node.setAttribute("role", "img");
    node.style.minHeight = `${JSON.parse(model.get("figure")).layout.height}px`;
    node.textContent = "The figure needs a running kernel: run this cell.";
    const Plotly = await plotly(model);
    node.textContent = "";
    const draw = async () => {
      const { data, layout } = JSON.parse(model.get("figure"));
      node.setAttribute("aria-label", [layout.title?.text, layout.title?.subtitle?.text].filter(Boolean).join(". "));
      node.style.minHeight = `${layout.height}px`;
      await Plotly.react(node, data, layout, { displaylogo: false });
      nameSliders(el.closest(".slmlab-view"));
      keepKeys(el.closest(".slmlab-view"));
    };
    await draw();
    model.on("change:figure", draw);
    const resized = new ResizeObserver(() => node.offsetWidth && Plotly.Plots.resize(node));
    resized.observe(el);
    return () => {
      model.off("change:figure", draw);
      resized.disconnect();
      Plotly.purge(node);
    };
  },
};
"""


class Plot(anywidget.AnyWidget):
    """A plotly Figure on the page; assign another one to `figure`, and it is redrawn in place."""

    _esm = RENDER
    figure = traitlets.Instance(go.Figure).tag(sync=True, to_json=lambda figure, _: figure.to_json())

    def __init__(self, figure: go.Figure):
        super().__init__(figure=figure)
        self.on_msg(lambda plot, message, buffers: plot.send(message, [get_plotlyjs().encode()]))


class View(ipywidgets.VBox):
    """Controls, the plot they move, a line of text, and a place where what goes wrong is shown.

    A subclass gives `_redraw`, which reads the controls, assigns `plot.figure` and calls `_say`; it calls `_start` with
    the controls whose change calls for that.
    """

    def __init__(self, above: list[ipywidgets.Widget], below: list[ipywidgets.Widget]):
        self.plot = Plot(go.Figure())
        self.text = ipywidgets.HTML()
        self.trouble = ipywidgets.HTML()
        self._settling = False
        super().__init__([*above, self.plot, self.text, *below, self.trouble])
        self.add_class("slmlab-view")

    def _redraw(self) -> None:
        raise NotImplementedError

    def _say(self, text: str) -> None:
        self.text.value = f'<div style="line-height: 1.45">{html.escape(text)}</div>'

    def _start(self, *controls: ipywidgets.Widget) -> None:
        self._redraw()
        for control in controls:
            control.observe(self._changed, "value")

    def _changed(self, _change: object) -> None:
        if self._settling:  # _redraw itself moved a control that depends on another
            return
        self._settling = True
        try:
            with self._showing_trouble():
                self._redraw()
        finally:
            self._settling = False

    @contextmanager
    def _showing_trouble(self) -> Iterator[None]:
        """A callback has no cell to fail in: Jupyter writes its exception to a log that nobody reads."""
        self.trouble.value = ""
        try:
            yield
        except Exception as error:
            what = html.escape(f"{type(self).__name__}: {type(error).__name__}: {error}")
            where = html.escape(traceback.format_exc())
            self.trouble.value = (
                f'<div role="alert" style="border-left: 4px solid #D55E00; padding-left: 8px">{what}'
                f"<details><summary>where</summary><pre>{where}</pre></details></div>"
            )
