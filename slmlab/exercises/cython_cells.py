"""Cells that a learner compiles: Cython's `%%cython`, with which a notebook reaches its end also without a compiler.

    %load_ext slmlab.exercises.cython_cells

    %%cython
    import cython
    from slmlab.exercises import exercise

    @exercise("ternary-kernel")
    def kernel(packed: cython.uchar[:, ::1], ...): ...

The cell is in Cython's pure Python mode, which is Python to those who read it: here, and in grading.build. An exercise
is checked as it was compiled, with C's integers. A body that is still `...` is not compiled. Where a cell does not
compile, the reason is shown, its exercises run on their references, and its other functions are None.
"""

import ast
import html
import os
import platform
import shutil
import sysconfig
import time

from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.display import HTML, display

FLAGS = {"arm64": "-c=-O3 -c=-mcpu=native", "aarch64": "-c=-O3 -c=-mcpu=native"}  # x86 has another name for it


def load_ipython_extension(shell) -> None:
    shell.register_magics(CythonCells)


@magics_class
class CythonCells(Magics):
    @cell_magic
    def cython(self, line: str, cell: str) -> None:
        """Compile the cell for this CPU and import what it defines. Options are those of Cython's own magic.

        Without one of them (-c=...), the C compiler is told to optimise for exactly this processor.
        """
        try:
            tree = ast.parse(cell)
        except SyntaxError as error:
            if "cdef" in cell:
                error.msg += '. This cell is in the pure Python mode of Cython: "i: cython.int", not "cdef int i"'
            raise
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        if any(_is_exercise(node) and ast.unparse(node.body[-1]) == "..." for node in functions):
            self._run_uncompiled(tree)
            return
        for node in functions:
            self.shell.user_ns.pop(node.name, None)
        start, note = time.perf_counter(), display(HTML("<progress></progress> compiling"), display_id=True)
        reason = _compiler_missing() or self._compile(line or _flags(), cell, [node.name for node in functions])
        if reason is None:
            note.update(HTML(f"compiled in {time.perf_counter() - start:.1f} s"))
        else:
            note.update(HTML(f"<b>Not compiled:</b> {html.escape(reason)}"))
            self._run_uncompiled(tree)

    def _compile(self, line: str, cell: str, names: list[str]) -> str | None:
        """None, or why `names` are not there."""
        from Cython.Build.IpythonMagic import CythonMagics
        from setuptools.errors import ExecError, PlatformError

        try:
            CythonMagics(self.shell).cython(line, cell)  # prints what Cython and the compiler object to
        except (ExecError, PlatformError) as error:
            return f"{error}. A C compiler is needed."
        missing = [name for name in names if name not in self.shell.user_ns]
        return f"{', '.join(missing)} is not there; what the compilers said stands below." if missing else None

    def _run_uncompiled(self, tree: ast.Module) -> None:
        """Run the cell as Python, each exercise as a stub, each other function as None."""
        body = []
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef):
                body.append(node)
            elif _is_exercise(node):
                node.body = [*node.body[:1], ast.Expr(ast.Constant(...))]
                body.append(node)
            else:
                body += ast.parse(f"{node.name} = None").body
        module = ast.fix_missing_locations(ast.Module(body, []))
        exec(compile(module, "<cell>", "exec"), self.shell.user_ns)


def _is_exercise(node: ast.FunctionDef) -> bool:
    return any(isinstance(mark, ast.Call) and ast.unparse(mark.func) == "exercise" for mark in node.decorator_list)


def _flags() -> str:
    if platform.system() == "Windows":
        return "-c=/O2"
    return FLAGS.get(platform.machine(), "-c=-O3 -c=-march=native")


def _compiler_missing() -> str | None:
    """Why there is no compiler to ask; None where there is one, and on Windows, where only asking tells."""
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "").split()
    if not command or shutil.which(command[0]):
        return None
    install = "`xcode-select --install`" if platform.system() == "Darwin" else "your system's package manager"
    return f"there is no C compiler ({command[0]}); {install} brings one. Run this cell again then."
