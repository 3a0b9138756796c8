"""Static files: conditional requests, ranges, no way out of the directory."""

from thor.files.serving import StaticFiles

__all__ = ["StaticFiles"]
