"""`%%cython` of the labs: what compiles, what is not compiled, and what happens where nothing can be."""

import sys

import pytest

pytest.importorskip("Cython", reason="Cython is not installed: pip install cython")

from IPython.core.interactiveshell import InteractiveShell

from slmlab.exercises import cython_cells

EXERCISE = '''
import cython
import numpy as np
from slmlab.exercises import exercise

@exercise("packed-product")
def product(packed: cython.uchar[:, ::1], x: cython.schar[::1]):
    """Contract."""
    BODY
'''
STUB = EXERCISE.replace("BODY", "...")
PLAIN = "import cython\n\n\ndef wrapped(a: cython.int, b: cython.int):\n    return a + b\n"


@pytest.fixture
def shell(monkeypatch, tmp_path):
    monkeypatch.setenv("SLMLAB_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr("Cython.Build.IpythonMagic.get_ipython_cache_dir", lambda: str(tmp_path))
    monkeypatch.delenv("SLMLAB_STRICT", raising=False)
    shell = InteractiveShell.instance()
    cython_cells.load_ipython_extension(shell)
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setenv("CC", "a-compiler-that-is-not-there")
    monkeypatch.setattr(cython_cells.platform, "system", lambda: "Linux")


def test_a_body_that_is_not_written_is_not_compiled(shell, monkeypatch):
    monkeypatch.setattr(cython_cells.CythonCells, "_compile", None)  # calling it would fail

    shell.run_cell_magic("cython", "", STUB)

    assert shell.user_ns["product"].status == "not attempted"


def test_without_a_compiler_an_exercise_is_its_reference_and_other_functions_are_none(shell, no_compiler, capsys):
    shell.run_cell_magic("cython", "", EXERCISE.replace("BODY", "return 1") + PLAIN)

    assert shell.user_ns["product"].status == "not attempted" and shell.user_ns["wrapped"] is None


def test_without_a_compiler_the_cell_says_so(shell, no_compiler, monkeypatch):
    shown = []
    monkeypatch.setattr(cython_cells, "HTML", lambda text: shown.append(text) or text)

    shell.run_cell_magic("cython", "", PLAIN)

    assert "there is no C compiler (a-compiler-that-is-not-there)" in shown[-1]


def test_what_cython_refuses_is_told_and_does_not_stop_the_notebook(shell, capfd, monkeypatch):
    monkeypatch.setattr(cython_cells, "_compiler_missing", lambda: None)

    shell.run_cell_magic("cython", "", EXERCISE.replace("BODY", "return undeclared"))

    assert "undeclared name not builtin: undeclared" in capfd.readouterr().err
    assert shell.user_ns["product"].status == "not attempted"


def test_the_syntax_with_cdef_is_answered_with_the_other_one(shell):
    with pytest.raises(SyntaxError, match='not "cdef int i"'):
        cython_cells.CythonCells(shell).cython("", "def f():\n    cdef int i\n")


@pytest.mark.skipif(
    sys.platform == "win32" or cython_cells._compiler_missing() is not None, reason="no C compiler is known to be here"
)
def test_a_cell_is_compiled_and_computes_as_c_does(shell):
    shell.run_cell_magic("cython", "-c=-O0 -c=-fwrapv", PLAIN)

    assert shell.user_ns["wrapped"](2**31 - 1, 1) == -(2**31)  # Python itself would give 2**31
