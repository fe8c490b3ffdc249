"""What setup.py says about the extension, for the tests that compile the same sources in their own way."""

import runpy
from pathlib import Path

import pytest
import setuptools

import cython_kernels

ROOT = Path(cython_kernels.__file__).resolve().parent.parent


def extension() -> setuptools.Extension:
    """The Extension of setup.py. The test is skipped where cython_kernels is installed away from it."""
    if not (ROOT / "setup.py").is_file():
        pytest.skip("cython_kernels is installed away from its setup.py")
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
        runpy.run_path(str(ROOT / "setup.py"))
    (one,) = given["ext_modules"]
    return one
