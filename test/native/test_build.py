"""How Thor is built: with the native codec where that is possible, and else without it.

Each build is one of a copy of the source, by the backend itself: no network, no installer.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from thor_support import ROOT

WITHOUT_COMPILER = {"CC": "/nonexistent/cc"}
SAID = "thor: built without the native codec, in pure Python: "


def has_backend() -> bool:
    try:
        return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.skipif(not has_backend(), reason="setuptools >= 77 is not installed"),
    pytest.mark.deadline_s(300),
]

needs_compiler = pytest.mark.skipif(
    shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is None
    or not Path(sysconfig.get_paths()["include"], "Python.h").is_file()
    or bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="needs a C compiler and Python's headers",
)


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("THOR_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=own | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the source, in which nothing was built."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "thor", source / "thor", ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    return source


def build(
    source: Path, what: str = "wheel", **environment: str
) -> tuple[Path | None, list[str], subprocess.CompletedProcess[str]]:
    """(What was built, Thor's own lines, the whole result)."""
    out = source.parent / "out"
    out.mkdir(exist_ok=True)
    code = f"import setuptools.build_meta as backend; backend.build_{what}({str(out)!r})"
    result = python(code, source, **environment)
    built = next(out.iterdir()) if result.returncode == 0 else None
    lines = result.stderr.splitlines()
    return built, [line for line in lines if line.startswith("thor:")], result


def codec_files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return [Path(name).name for name in archive.namelist() if "_codec" in name]


def wheel_metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        return message_from_bytes(archive.read(name))


def loads_native(wheel: Path) -> bool:
    """Whether what is in a wheel runs with the codec."""
    site = wheel.parent.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = "import thor.native, thor.http\nprint(thor.native.__file__)\nprint(thor.native.loaded)"
    result = python(code, site, PYTHONPATH=str(site))
    where, said = result.stdout.split()
    assert where.startswith(str(site))
    return said == "True"


def test_build_without_compiler_goes_on_and_says_so_in_one_line(source: Path) -> None:
    wheel, said, result = build(source, **WITHOUT_COMPILER)
    assert wheel is not None, result.stderr
    assert [line.startswith(SAID) for line in said] == [True]
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel_metadata(wheel)["Root-Is-Purelib"] == "true"
    assert codec_files(wheel) == ["_codec.pyi"]
    assert not loads_native(wheel)


def test_editable_build_without_compiler_goes_on(source: Path) -> None:
    built, said, result = build(source, "editable", **WITHOUT_COMPILER)
    assert built is not None, result.stderr
    assert [line.startswith(SAID) for line in said] == [True]


def test_build_that_requires_the_codec_fails_without_compiler(source: Path) -> None:
    wheel, _, result = build(source, THOR_BUILD_EXTENSIONS="require", **WITHOUT_COMPILER)
    assert wheel is None
    assert "/nonexistent/cc" in result.stderr


def test_codec_that_is_not_wanted_is_not_built(source: Path) -> None:
    wheel, said, result = build(source, THOR_NO_EXTENSIONS="1")
    assert wheel is not None, result.stderr
    assert said == []
    assert wheel.name.endswith("-py3-none-any.whl")
    assert codec_files(wheel) == ["_codec.pyi"]


def test_codec_cannot_be_both_required_and_unwanted(source: Path) -> None:
    wheel, said, _ = build(source, THOR_NO_EXTENSIONS="1", THOR_BUILD_EXTENSIONS="require")
    assert wheel is None
    assert said == ["thor: no native codec: THOR_NO_EXTENSIONS is set"]


@needs_compiler
def test_build_with_compiler_serves_every_later_python(source: Path) -> None:
    wheel, said, result = build(source, THOR_BUILD_EXTENSIONS="require")
    assert wheel is not None, result.stderr
    assert said == []
    assert "-cp311-abi3-" in wheel.name
    assert sorted(codec_files(wheel)) == ["_codec.abi3.so", "_codec.pyi"]
    assert loads_native(wheel)


@needs_compiler
@pytest.mark.parametrize("standard", ["c99", "c11"])
def test_codec_compiles_without_a_warning(standard: str, tmp_path: Path) -> None:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    flags = ["-Wall", "-Wextra", "-Wconversion", "-Wno-missing-field-initializers", "-Werror"]
    result = subprocess.run(
        [
            *compiler,
            f"-std={standard}",
            *flags,
            "-O2",
            "-isystem",
            sysconfig.get_paths()["include"],
            "-c",
            str(ROOT / "thor" / "native" / "_codec.c"),
            "-o",
            str(tmp_path / "codec.o"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_source_archive_holds_the_codec_whatever_is_built(source: Path) -> None:
    archive, _, result = build(source, "sdist", THOR_NO_EXTENSIONS="1")
    assert archive is not None, result.stderr
    with tarfile.open(archive) as tar:
        assert "_codec.c" in {Path(name).name for name in tar.getnames()}
