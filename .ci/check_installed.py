"""Check the installation of Thor that belongs to this Python: the command and the native codec."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import thor
from thor import native

where = Path(thor.__file__).resolve()
assert Path(sysconfig.get_path("platlib")).resolve() in where.parents, f"not installed: {where}"
assert native.loaded, "no native codec"
assert native.render_fields(b"", [(b"a", b"b")], False, False) is not None, "the codec does nothing"

command = shutil.which("thor", path=sysconfig.get_path("scripts"))
assert command, "no command thor"
said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
assert said.split() == ["thor", thor.__version__], said
sys.stdout.write(f"{said.strip()}, with its native codec, in {where.parent}\n")
