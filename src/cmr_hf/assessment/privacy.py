"""Words that must not leave: names of files and folders of the study, which hospitals make of patients' names."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

LONGEST = 300
LEAST = 3  # letters of a name that is looked for


class Private:
    """Takes names of files and folders out of texts.

    Args:
        study (`Path`): the folder or file of the study.
        files (list of `str`): below it.
        keep (`bool`): change nothing.
    """

    def __init__(self, study: Path | None, files: Iterable[str] = (), keep: bool = False):
        self._keep = keep
        names: set[str] = set()
        for file in files:
            path = PurePosixPath(file)
            names |= {file, *path.parts, path.stem}
        if study is not None:
            whole = Path(study).resolve()
            names |= {str(study), str(whole), *whole.parts, whole.stem}
        ordered = sorted((name for name in names if len(name) >= LEAST), key=len, reverse=True)
        words = "|".join(map(re.escape, ordered))
        self._pattern = re.compile(f"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.IGNORECASE) if ordered else None

    def text(self, text: str) -> str:
        """The text with "…" for every name."""
        found = str(text)
        if self._pattern is not None and not self._keep:
            found = self._pattern.sub("…", found)
        return " ".join(found.split())[:LONGEST]

    def error(self, error: BaseException) -> str:
        """An error in one line, without names."""
        return self.text(f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error))
