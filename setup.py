"""Only the compiled extension; everything else is in pyproject.toml."""

from setuptools import Extension, setup

# setuptools runs Cython on the .pyx by itself. Calling cythonize() here would lose `optional`: Cython copies the
# extension without it, and the install would fail where there is no compiler.
kernels = Extension(
    "cython_kernels.ternary",
    ["cython_kernels/ternary.pyx", "cython_kernels/c/dispatch.c", "cython_kernels/c/scalar.c"],
    depends=["cython_kernels/c/ternary.h"],
    include_dirs=["cython_kernels/c"],
    optional=True,  # without a compiler the install goes on, and the course runs on the NumPy reference
)
setup(ext_modules=[kernels])
