"""How widely a server is shared, and where it starts then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mux.backend.resolve import git_root, resolve
from mux.core.events import SessionOpened
from mux.errors import UsageError
from tests.backend.place import Place, given_to


def directories(place: Place, scope: bytes, *argv: str) -> tuple[SessionOpened, SessionOpened]:
    a, b = (
        resolve(1, place.hello(*argv, cwd=cwd, options=[b"scope=" + scope])) for cwd in (place.repository, place.sub)
    )
    return a, b


def test_scope_directory_splits_two_directories(place: Place) -> None:
    a, b = directories(place, b"directory")
    assert a.base_key != b.base_key
    assert b.spec.cwd == given_to(b)[b"PWD"] == os.fsencode(place.sub)


def test_scope_project_starts_at_the_root_of_the_repository(place: Place) -> None:
    a, b = directories(place, b"project")
    assert a.base_key == b.base_key
    assert a.spec == b.spec
    assert b.spec.cwd == given_to(b)[b"PWD"] == os.fsencode(place.repository)


def test_scope_user_starts_at_home(place: Place) -> None:
    a, b = directories(place, b"user")
    assert a.spec == b.spec
    assert b.spec.cwd == given_to(b)[b"PWD"] == os.fsencode(place.home)


@pytest.mark.parametrize(
    ("scope", "places"),
    [
        (b"session", {}),
        (b"directory", {}),
        (b"project", {"directory": "sub"}),
        (b"user", {"directory": "sub", "project": "."}),
    ],
)
def test_where_the_server_would_start_under_each_narrower_scope_is_told(
    place: Place, scope: bytes, places: dict[str, str]
) -> None:
    opened = resolve(1, place.hello(cwd=place.sub, options=[b"scope=" + scope]))
    expected = {name: os.fsencode((place.repository / where).resolve()) for name, where in places.items()}
    assert {name: os.path.realpath(where) for name, where in opened.places.items()} == expected


def test_the_scope_itself_splits(place: Place) -> None:
    assert directories(place, b"project")[0].base_key != directories(place, b"directory")[0].base_key


@pytest.mark.parametrize("argv", [("server", "."), ("server", "--root=./x"), ("server", "file"), ("./server",)])
@pytest.mark.parametrize("scope", [b"project", b"user"])
def test_a_relative_path_makes_the_directory_count_whatever_the_scope(
    place: Place, scope: bytes, argv: tuple[str, ...]
) -> None:
    for directory in (place.repository, place.sub):
        (directory / "file").write_text("")
    a, b = directories(place, scope, *argv)
    assert a.base_key != b.base_key
    assert b.spec.cwd == os.fsencode(place.sub)


def test_a_worktree_is_a_project_and_outside_of_one_the_directory_is(place: Place, tmp_path: Path) -> None:
    worktree = tmp_path / "worktree"
    (worktree / "deep" / "er").mkdir(parents=True)
    (worktree / ".git").write_text("gitdir: elsewhere")
    assert git_root(os.fsencode(worktree / "deep" / "er")) == os.fsencode(worktree)
    assert git_root(os.fsencode(place.bin)) == os.fsencode(place.bin)


def test_a_home_that_is_no_directory_name_is_looked_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    hello = place.hello(options=[b"scope=user"])
    hello.environment = (b"HOME=",)
    assert os.path.isabs(resolve(1, hello).spec.cwd)

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(UsageError, match="HOME"):
        resolve(1, hello)
