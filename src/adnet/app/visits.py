"""Folders of a page's visitors: what belongs to one is gone when that one leaves."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from types import TracebackType

from adnet.app.segmentation import Segmentation
from adnet.errors import UserError
from adnet.video.sources import VideoSource


class Visit(AbstractContextManager["Visit"]):
    """One visitor's video and its results; `with visit:` for as long as something is done in the folders.

    Args:
        private: holds what the server alone reads.
        shown: holds what the browser may ask for by name.
    """

    def __init__(self, private: Path, shown: Path) -> None:
        self.private, self.shown = private, shown
        self.source: VideoSource | None = None
        self.segmentation: Segmentation | None = None
        self.point = (0, 0)
        """Column and row of the anchor's pixel that was clicked on last."""
        self.left = False
        self._order = 0
        self._busy = Lock()

    def __enter__(self) -> Visit:
        self._busy.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.left:
            self._remove()
        self._busy.release()

    def anew(self) -> Visit:
        """This visit, and what is being done in it is outdated: another video comes."""
        self._order += 1
        return self

    def outdated(self) -> Callable[[], bool]:
        """What tells from now on whether nobody waits any more for what is being done."""
        order = self._order
        return lambda: self.left or self._order != order

    def leave(self) -> None:
        """Remove the folders, now or as soon as what is being done in them has ended."""
        self.left = True
        if self._busy.acquire(blocking=False):
            self._remove()
            self._busy.release()

    def fresh(self, parent: Path, kind: str) -> Path:
        """A new folder in `private` or `shown`, in place of the last one of its kind.

        Its name is new, too, so that a browser doesn't take the last one's files for these.
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
    """Visitors by the name that the browser gives its tab."""

    def __init__(self, root: Path) -> None:
        self.private, self.shown = root / "private", root / "shown"
        self._visits: dict[str, Visit] = {}
        self._lock = Lock()

    def begin(self, session: str | None) -> Visit:
        """The visit of that name, a new one if need be."""
        if not session:
            raise UserError("a visitor has no name")
        with self._lock:
            if session not in self._visits:
                # The browser chose its name: a folder's must neither be a path nor be guessed.
                secret = secrets.token_urlsafe(16)
                self._visits[session] = Visit(self.private / secret, self.shown / secret)
            return self._visits[session]

    def __getitem__(self, session: str | None) -> Visit:
        """The visit of that name. Raises UserError where none has begun, or it has ended."""
        with self._lock:
            visit = self._visits.get(session or "")
        if visit is None:
            raise UserError("there is no video yet, or no longer: drop one")
        return visit

    def leave(self, session: str | None) -> None:
        """Forget a visitor, and remove what is on disk."""
        with self._lock:
            visit = self._visits.pop(session or "", None)
        if visit:
            visit.leave()
