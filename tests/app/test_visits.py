from __future__ import annotations

from pathlib import Path

import pytest

from adnet.app.visits import Visit, Visits
from adnet.errors import UserError


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def fill(visit: Visit) -> Path:
    with visit:
        for parent in (visit.private, visit.shown):
            (visit.new_folder(parent, "kind") / "file").touch()
        return visit.private


def test_each_has_folders_of_its_own_until_it_leaves(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    first, second = fill(visits.begin("a")), fill(visits.begin("b"))
    assert first != second
    assert visits["a"] is visits.begin("a")
    assert len(files(tmp_path)) == 4
    visits.leave("a")
    assert len(files(tmp_path)) == 2
    assert files(second)
    with pytest.raises(UserError, match="no video, or it has been deleted"):
        visits["a"]
    visits.leave("a")  # as a browser may say twice
    visits.leave("b")
    assert not files(tmp_path)


@pytest.mark.parametrize("name", ["../../outside", "/etc", "a/b", "."])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    folder = fill(Visits(tmp_path / "root").begin(name))
    assert folder.parent == tmp_path / "root" / "private"
    assert len(folder.name) >= 20


def test_a_nameless_visitor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no session name"):
        Visits(tmp_path).begin(None)


def test_folders_in_use_go_when_that_has_ended(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    visit = visits.begin("a")
    with visit:
        folder = visit.new_folder(visit.private, "maps")
        visits.leave("a")
        assert visit.left
        (folder / "map").touch()
    assert not files(tmp_path)


def test_a_fresh_folder_replaces_the_last_of_its_kind(tmp_path: Path) -> None:
    visit = Visits(tmp_path).begin("a")
    other, first = visit.new_folder(visit.shown, "anchor"), visit.new_folder(visit.shown, "drawing")
    second = visit.new_folder(visit.shown, "drawing")
    assert second != first
    assert set(visit.shown.iterdir()) == {other, second}


def test_what_is_done_is_outdated_when_another_video_comes_or_the_visitor_goes(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    visit = visits.begin("a")
    first = visit.outdated()
    assert not first()
    second = visits.begin("a").outdated()
    assert (first(), second()) == (True, False)
    visit.leave()
    assert second()
