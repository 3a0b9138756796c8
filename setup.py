"""The build's entry point; what is built is described in pyproject.toml, but for the native codec.

The codec is one C file for the stable ABI of CPython 3.11, so that one build serves all later
versions. Nothing but speed depends on it: where it cannot be compiled, the build goes on without
it and says so in one line. Environment:

THOR_NO_EXTENSIONS: if set (to anything but "" and "0"), the codec is not built
THOR_BUILD_EXTENSIONS: if "require", a build that cannot have the codec fails
"""

import os
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

REQUIRED = os.environ.get("THOR_BUILD_EXTENSIONS") == "require"
UNWANTED = os.environ.get("THOR_NO_EXTENSIONS", "") not in ("", "0")


class BuildCodec(build_ext):
    """Builds the codec, or says that it could not."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            if REQUIRED:
                raise
            go_on_without(error)
            self.distribution.ext_modules = None


class TagWheel(bdist_wheel):
    """Tag a wheel by what is in it: without the codec it serves every platform."""

    def run_command(self, command):
        super().run_command(command)
        if command == "build" and not self.distribution.has_ext_modules():
            self.root_is_pure = True


def go_on_without(reason):
    sys.stderr.write(f"thor: built without the native codec, in pure Python: {reason}\n")


def why_impossible():
    """Why this interpreter cannot have the codec; None if it can."""
    if sys.implementation.name != "cpython":
        return f"it is for CPython, not {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded CPython has no stable ABI"
    return None


def codec():
    """Return what `setup` is told about the codec."""
    reason = why_impossible()
    if REQUIRED and (reason or UNWANTED):
        sys.exit(f"thor: no native codec: {reason or 'THOR_NO_EXTENSIONS is set'}")
    if UNWANTED:
        return {}
    if reason:
        go_on_without(reason)
        return {}
    extension = Extension(
        "thor.native._codec",
        ["thor/native/_codec.c"],
        py_limited_api=True,
        optional=not REQUIRED,
    )
    return {
        "ext_modules": [extension],
        "cmdclass": {"build_ext": BuildCodec, "bdist_wheel": TagWheel},
        "options": {"bdist_wheel": {"py_limited_api": "cp311"}},
    }


setup(exclude_package_data={"thor.native": ["*.c"]}, **codec())
