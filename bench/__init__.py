"""Measurements of the multiplexer against a direct server, in one run. `python -m bench` from the checkout."""
