"""Measures Thor against its peers: CPU time per request, in the same run, on the same machine."""
