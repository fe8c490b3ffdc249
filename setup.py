"""Only the compiled extension; everything else is in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

kernels = Extension(
    "cython_kernels.ternary",
    ["cython_kernels/ternary.pyx", "cython_kernels/c/dispatch.c", "cython_kernels/c/scalar.c"],
    depends=["cython_kernels/c/ternary.h"],
    include_dirs=["cython_kernels/c"],
    optional=True,  # without a compiler the install goes on, and the course runs on the NumPy reference
)
setup(ext_modules=cythonize([kernels], build_dir="build", compiler_directives={"language_level": 3}))
