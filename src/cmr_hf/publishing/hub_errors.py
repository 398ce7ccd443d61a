"""What goes wrong between here and the Hub, in words that say what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

ONLINE_AGAIN = "unset HF_HUB_OFFLINE, or set it to 0"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
TRY_AGAIN = "run the same command again: what has arrived is not sent twice"


class HubError(OSError):
    """The Hub refused, could not be reached or broke off; the message says what was tried, why not, and what to do."""


@contextmanager
def clear_errors(what: str, repo: str, endpoint: str | None = None, remedy: str = TRY_AGAIN) -> Iterator[None]:
    """Turns the client's errors in this block into a `HubError`.

    Args:
        what (`str`): what is being done, "pushing to org/name" say.
        repo (`str`): ORG/NAME.
        endpoint (`str`, *optional*): the Hub that is asked, by default that of HF_ENDPOINT.
        remedy (`str`): what to do about a connection that broke.
    """
    address = (endpoint or constants.ENDPOINT).rstrip("/")
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        words = _words(error, repo, address, remedy)
        if words is None:
            raise
        raise HubError(f"{what} failed: {words}") from error


def _words(error: BaseException, repo: str, address: str, remedy: str) -> str | None:
    """What happened and what to do; None for an error that is no business of the network."""
    chain = list(_causes(error))
    for cause in chain:  # the most telling one, wherever it stands
        if isinstance(cause, OfflineModeIsEnabled):
            return f"offline mode is on and {repo} is not whole in the cache: {ONLINE_AGAIN}"
    for cause in chain:
        if isinstance(cause, LocalTokenNotFoundError):
            return f"there is no token for {address}: {LOG_IN} (a token that may write to {repo.split('/')[0]})"
        if isinstance(cause, HfHubHTTPError):
            return _refused(cause, repo, address, remedy)
    if any(_of_network(cause) for cause in chain):
        first = next(cause for cause in chain if _of_network(cause))
        reason = " ".join(str(first).split()) or type(first).__name__
        return f"the connection to {address} could not be made or broke off ({reason}): {remedy}"
    for cause in chain:
        if isinstance(cause, FileMetadataError):
            return f"{address} does not answer as a Hub does: check --endpoint or HF_ENDPOINT"
        if isinstance(cause, IncompleteSnapshotError):
            return f"{repo} is not whole in the cache: {remedy}"
        if isinstance(cause, LocalEntryNotFoundError):
            return f"{repo} is not in the cache and {address} does not answer: check the connection and HF_ENDPOINT"
    return None


def _refused(error: HfHubHTTPError, repo: str, address: str, remedy: str) -> str:
    status = error.response.status_code
    namespace = repo.split("/")[0]
    said = _said(error)
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: ask for access at {address}/{repo}, and {LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no such revision: name a branch, a tag or a commit that {address}/{repo} lists"
    if isinstance(error, RepositoryNotFoundError):
        return f"{address} has no {repo}, or it is private: check the name, and {LOG_IN}"
    if status == 401:
        return f"{address} does not know this token: {LOG_IN}"
    if status == 403:
        return f"this token may not do that in {namespace}{said}: use one with the right to write there"
    if status in (409, 412):
        return f"{repo} has changed meanwhile{said}: run the same command again"
    if status == 413:
        return f"{address} finds it too large{said}: use a smaller --max-shard-size"
    if status == 429:
        return f"{address} is asked too often{said}: wait a few minutes, then {remedy}"
    if status >= 500:
        return f"{address} has trouble of its own (HTTP {status}): {remedy}"
    return f"{address} answered HTTP {status}{said}"


def _said(error: HfHubHTTPError) -> str:
    """The server's own reason, if it gave one."""
    text = error.server_message or ""
    text = re.sub(r"\s+", " ", text).strip(" .")
    return f" ({text[:200]})" if text else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]


def _of_network(error: BaseException) -> bool:
    # the client's HTTP library is httpx or its successor, by its version; a short file is an OSError of its own
    library = type(error).__module__.split(".")[0]
    of_library = library.startswith(("httpx", "hf_xet")) and not isinstance(error, HfHubHTTPError)
    own = isinstance(error, (ConnectionError, TimeoutError)) and not isinstance(error, OfflineModeIsEnabled)
    return of_library or own or "Consistency check failed" in str(error)
