"""Shim to backend: frames on a Unix socket. See `PROTOCOL` in this folder."""
