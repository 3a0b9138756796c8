#!/usr/bin/env bash
# Install REDbot, a program written for thor 0.17, and run its tests on this tree.
#
# usage: test/interop/redbot.sh [DIR]    DIR: where to make its virtual environment (build/redbot)
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=${1:-build/redbot}
readonly venv
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet redbot==2.7.1
# PYTHONPATH, which the tests set, puts this tree's thor before the one that was installed.
THOR_REDBOT="$(realpath "$venv")/bin/python" .venv/bin/python -m pytest -rs test/interop/test_redbot.py
