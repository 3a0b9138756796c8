"""The build's entry point; what is built is described in pyproject.toml."""

from setuptools import setup

setup()
