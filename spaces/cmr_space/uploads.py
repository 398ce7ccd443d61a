"""Uploads of different people in different places, even where they hold the same bytes.

Gradio files an upload under a hash of its content. Two people who hand in the same file would share it, and the first
who is done would delete it for the other. A random part in every hash keeps them apart, and makes the place secret.
"""

import secrets
from typing import Any

from gradio.route_utils import GradioUploadFile


def keep_apart() -> None:
    """Has every upload of this process filed under a name of its own; a second call changes nothing."""
    given = GradioUploadFile.__init__
    if getattr(given, "keeps_apart", False):
        return

    def salted(self: GradioUploadFile, *values: Any, **named: Any) -> None:
        given(self, *values, **named)
        self.sha.update(secrets.token_bytes(16))

    salted.keeps_apart = True
    GradioUploadFile.__init__ = salted
