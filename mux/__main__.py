"""`python -m mux` is the `mux` command."""

from mux.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
