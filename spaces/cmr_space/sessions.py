"""Where files lie while a session lasts, and how they go away.

One folder a process, which only its user can open:

    private/<token>/   what was handed in, without identity; never served
    shown/<token>/     results, served under a name that nobody can guess
    shown/<hash>/      uploads, for the seconds until they are taken in

It goes when the process ends, a session's part when its page is closed, and any part an hour after its last use.
Folders of processes that were killed go when the next one starts.
"""

import atexit
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path

PREFIX = "cmr_hf_space_"
LIFETIME_S = 3600.0
SWEEP_S = 60.0
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Sessions:
    """The folders of one process.

    Args:
        parent (`Path`, *optional*): where to make the folder; by default where the system keeps what is temporary.
        lifetime_s (`float`): how long what nobody uses stays.
    """

    def __init__(self, parent: Path | None = None, lifetime_s: float = LIFETIME_S):
        parent = Path(parent or tempfile.gettempdir())
        remove_orphans(parent)
        self.root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}_", dir=parent)).resolve()
        self.private, self.shown, self.kept = self.root / "private", self.root / "shown", self.root / "shown" / "kept"
        for folder in (self.private, self.shown, self.kept):
            folder.mkdir(mode=0o700)
        self.lifetime_s = lifetime_s
        self._of_page: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        atexit.register(self.close)

    def open(self, page: str | None = None) -> str:
        """A new token with its two folders; `page` is the session of the browser that it ends with."""
        token = secrets.token_hex(16)
        for folder in (self.private, self.shown):
            (folder / token).mkdir(mode=0o700)
        if page:
            with self._lock:
                self._of_page.setdefault(page, set()).add(token)
        return token

    def folders(self, token: str) -> tuple[Path, Path]:
        """Private and shown folder of a token; they count as used now.

        Raises:
            KeyError: there is no such session, or no more.
        """
        if not _TOKEN.fullmatch(token or "") or not (self.private / token).is_dir():
            raise KeyError("this session has ended and its files are deleted: hand them in again")
        pair = self.private / token, self.shown / token
        for folder in pair:
            folder.mkdir(mode=0o700, exist_ok=True)
            os.utime(folder)
        return pair

    def end(self, token: str) -> None:
        """Deletes what belongs to a token."""
        if _TOKEN.fullmatch(token or ""):
            for folder in (self.private, self.shown):
                shutil.rmtree(folder / token, ignore_errors=True)

    def keep_only(self, token: str, name: str) -> None:
        """Deletes all that belongs to a token but one file to fetch, which goes after a lifetime."""
        private, shown = self.folders(token)
        shutil.rmtree(private, ignore_errors=True)
        for entry in shown.iterdir():
            if entry.name != name:
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)

    def settle(self, token: str) -> None:
        """Deletes what was still written for a session that ended meanwhile."""
        if not (self.private / token).is_dir():
            self.end(token)

    def end_page(self, page: str | None) -> None:
        """Deletes all that one page of a browser has brought about."""
        with self._lock:
            tokens = self._of_page.pop(page or "", set())
        for token in tokens:
            self.end(token)

    def discard(self, upload: Path) -> None:
        """Deletes an uploaded file and its folder; anything outside `shown` is left alone."""
        upload = Path(upload).resolve()
        if upload.is_relative_to(self.shown) and not upload.is_relative_to(self.kept):
            upload.unlink(missing_ok=True)
            if upload.parent.is_dir() and upload.parent != self.shown and not any(upload.parent.iterdir()):
                upload.parent.rmdir()

    def sweep(self, now: float | None = None) -> int:
        """Deletes what nobody has used for a lifetime; how much that was."""
        now, count = time.time() if now is None else now, 0
        for entry in [*self.private.iterdir(), *self.shown.iterdir()]:
            if entry == self.kept:
                continue
            try:
                old = now - entry.stat().st_mtime > self.lifetime_s
            except FileNotFoundError:  # its session has ended meanwhile
                continue
            if old:
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
                count += 1
        return count

    def sweep_forever(self) -> threading.Thread:
        """Sweeps every minute in the background."""

        def work() -> None:
            while self.root.is_dir():
                self.sweep()
                time.sleep(SWEEP_S)

        thread = threading.Thread(target=work, daemon=True, name="sweeper")
        thread.start()
        return thread

    def close(self) -> None:
        """Deletes everything."""
        shutil.rmtree(self.root, ignore_errors=True)


def remove_orphans(parent: Path) -> list[Path]:
    """Deletes folders of processes that no longer run; those that were deleted."""
    gone = []
    for folder in Path(parent).glob(f"{PREFIX}*_*"):
        number = folder.name.removeprefix(PREFIX).split("_")[0]
        if number.isdigit() and folder.is_dir() and not folder.is_symlink() and not _runs(int(number)):
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(folder)
    return gone


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it runs
        return True
    return True
