"""The SDK's source and an environment that can run its tests, in the cache; from PyPI by pip."""

from __future__ import annotations

import subprocess
import tarfile
import venv

from tests.support.installed import CACHE

VERSION = "2.3.0"
ROOT = CACHE / f"python-sdk-{VERSION}"
PYTHON = ROOT / "venv" / "bin" / "python"
SOURCE = ROOT / f"mcp-{VERSION}"
EXAMPLES = SOURCE / "examples" / "servers" / "everything-server"
"""Beside the tests there is the server that the conformance suite is run against."""

NEEDED = "trio inline-snapshot dirty-equals logfire opentelemetry-sdk blockbuster pytest pytest-examples pytest-timeout"


def install() -> None:
    """Raises subprocess.CalledProcessError if pip cannot."""
    if (ROOT / "complete").exists():
        return
    venv.create(ROOT / "venv", with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", f"mcp[cli]=={VERSION}", *NEEDED.split()], check=True)
    sdist = ["--no-binary", "mcp", "--no-deps", "-d", str(ROOT), f"mcp=={VERSION}"]
    subprocess.run([*pip, "download", *sdist], check=True)
    with tarfile.open(ROOT / f"mcp-{VERSION}.tar.gz") as archive:
        archive.extractall(ROOT, filter="data")
    (ROOT / "complete").touch()
