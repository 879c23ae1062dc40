"""Folders of a page's visitors, deleted when they leave."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from adnet.app.corrections import Corrections
from adnet.errors import UserError
from adnet.video.sources import VideoSource


@dataclass(eq=False)
class Visit(AbstractContextManager["Visit"]):
    """A visitor's video and its corrections. Use `with visit:` while working in the folders.

    `private` is for the server alone; the browser may request what is in `shown`. `point` is the column and row of the last
    click on the anchor.
    """

    private: Path
    shown: Path
    source: VideoSource | None = None
    corrections: Corrections | None = None
    point: tuple[int, int] = (0, 0)
    left: bool = False
    video: int = 0
    _busy: Lock = field(default_factory=Lock)

    def __enter__(self) -> Visit:
        self._busy.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        if self.left:
            self._remove()
        self._busy.release()

    def outdated(self) -> Callable[[], bool]:
        """Return a function that tells whether the visitor has left or chosen another video since this call."""
        video = self.video
        return lambda: self.left or self.video != video

    def leave(self) -> None:
        """Remove the folders, as soon as no work in them is in progress."""
        self.left = True
        if self._busy.acquire(blocking=False):
            self._remove()
            self._busy.release()

    def new_folder(self, parent: Path, kind: str) -> Path:
        """Create a folder in `private` or `shown`, replacing the previous one of its kind.

        Its name is new, too, so that browsers do not show cached files of the previous one.
        """
        for old in parent.glob(f"{kind}-*"):
            shutil.rmtree(old)
        new = parent / f"{kind}-{secrets.token_hex(4)}"
        new.mkdir(parents=True)
        return new

    def _remove(self) -> None:
        for folder in (self.private, self.shown):
            shutil.rmtree(folder, ignore_errors=True)


class Visits:
    """All visits, by the session name of the browser tab."""

    def __init__(self, root: Path) -> None:
        self.private, self.shown = root / "private", root / "shown"
        self._visits: dict[str, Visit] = {}
        self._lock = Lock()

    def begin(self, session: str | None) -> Visit:
        """Return this session's visit, new or not, for its next video. Raises UserError without a session name."""
        if not session:
            raise UserError("the request has no session name")
        with self._lock:
            # The browser chose the session name, but a folder's name must not be a path, nor easy to guess.
            secret = secrets.token_urlsafe(16)
            visit = self._visits.setdefault(session, Visit(self.private / secret, self.shown / secret))
            visit.video += 1
            return visit

    def __getitem__(self, session: str | None) -> Visit:
        """Return the visit of this session. Raises UserError if it has not begun, or has ended."""
        if (visit := self._visits.get(session or "")) is None:
            raise UserError("there is no video, or it has been deleted: drop one")
        return visit

    def leave(self, session: str | None) -> None:
        """End a visit and remove its folders."""
        if visit := self._visits.pop(session or "", None):
            visit.leave()
