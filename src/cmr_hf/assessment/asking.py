"""What the models are asked of a study, what is known from an earlier run, and what becomes of those that fail."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from .cache import Cache
from .inference import Request, answers, passes
from .models import LoadedModel, Models
from .sources import Source

PIXEL_BYTES = 768 << 20  # of stacks that are kept open; the others are read again
IMAGES_AT_MOST = 16  # of a stack that a classifier looks at, as in its pipeline


class Pixels:
    """Pixels of stacks, the last used ones kept.

    Args:
        most_bytes (`int`): in all.
    """

    def __init__(self, most_bytes: int = PIXEL_BYTES):
        self._most = most_bytes
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def keep(self, number: int, pixels: np.ndarray) -> None:
        """Keeps the pixels of a stack, as long as there is room."""
        self._kept.pop(number, None)
        self._kept[number] = pixels
        while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self._most:
            self._kept.popitem(last=False)

    def of_number(self, number: int) -> np.ndarray:
        """What was kept last under a number."""
        return self._kept[number]

    def of(self, source: Source) -> np.ndarray:
        """`np.ndarray` of shape `(t, z, y, x)`.

        Raises:
            Exception: whatever is wrong with the files.
        """
        found = self._kept.pop(source.number, None)
        if found is None:
            found = np.asarray(source.read())
            if found.shape != source.shape:
                raise ValueError(f"pixels need shape {source.shape}, got {found.shape}: the headers do not fit them")
        self.keep(source.number, found)
        return found


class Asker:
    """Asks the models, remembers their answers in files, and goes on where something fails.

    Args:
        models (`Models`)
        cache (`Cache`)
        batch_size (`int`): images per pass.
        progress (`bool`): a bar on stderr, where that is a terminal.
    """

    def __init__(self, models: Models, cache: Cache, batch_size: int, progress: bool):
        self.models, self.cache, self.batch_size, self.progress = models, cache, batch_size, progress
        self.asked = 0  # images that an encoder has seen in this run
        self.known = 0  # answers that an earlier run had kept

    def ask(self, requests: Sequence[Request], what: str, failed: Callable[[str, Exception], None]) -> dict:
        """Answers by (key of the request, role); what has failed, and roles without a model, are not in it.

        Args:
            requests (list of `Request`): with the hash of what is asked as `content`.
            what (`str`): for the progress bar.
            failed: called with the key of a request that gives nothing.
        """
        found: dict[tuple[str, str], Any] = {}
        open_: list[Request] = []
        for request in requests:
            left = []
            for role in request.roles:
                if role not in self.models:
                    continue
                known = self.cache.get(role, request.content, self.models.digest(role))
                if known is None:
                    left.append(role)
                else:
                    found[request.key, role] = known
                    self.known += 1
            if left:
                open_.append(
                    Request(
                        request.key, request.images, request.count, request.spacing_mm, tuple(left), request.content
                    )
                )
        loaded = self._loaded({role for request in open_ for role in request.roles}, open_, failed)
        with tqdm(
            total=passes(open_, loaded), desc=what, unit="image", leave=False, disable=None if self.progress else True
        ) as bar:

            def told(count: int) -> None:
                self.asked += count
                bar.update(count)

            for request, role, answer in answers(
                open_, loaded, self.batch_size, told, lambda request, error: failed(request.key, error)
            ):
                self.cache.put(role, request.content, self.models.digest(role), answer)
                found[request.key, role] = answer
        return found

    def _loaded(
        self, roles: set[str], requests: Iterable[Request], failed: Callable[[str, Exception], None]
    ) -> list[LoadedModel]:
        loaded = []
        for role in sorted(roles):
            try:
                loaded.append(self.models.load(role))
            except (OSError, ValueError, RuntimeError) as error:  # a damaged folder: the other models still answer
                for request in requests:
                    if role in request.roles:
                        failed(request.key, error)
        return loaded

    def one_pass(self, first: str, second: str) -> bool:
        """Whether two roles share an encoder, so that the second costs little beside the first."""
        if first not in self.models or second not in self.models:
            return False
        return self.models.load(first).encoder == self.models.load(second).encoder


def content_of(source: Source, what: str) -> str:
    """Hash of some images of a stack."""
    return hashlib.sha256(f"{source.digest} {what}".encode()).hexdigest()


def sampled(source: Source) -> np.ndarray:
    """(phase, slice) of the images that a classifier looks at, evenly spaced, shape `(n, 2)`."""
    total = source.shape[0] * source.shape[1]
    chosen = np.linspace(0, total - 1, min(total, IMAGES_AT_MOST)).round().astype(int)
    return np.stack(np.divmod(chosen, source.shape[1]), axis=1)
