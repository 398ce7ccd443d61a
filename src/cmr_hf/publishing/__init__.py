"""The only way out of the house: folders that transformers opens, with this package installed or without it."""

from .downloading import Downloaded, download
from .export import export, save_embedded
from .release import Prepared, Published, prepare, publish, publish_family
from .weight_files import write_part
from .words import Words, read_words

__all__ = [
    "Downloaded",
    "Prepared",
    "Published",
    "Words",
    "download",
    "export",
    "prepare",
    "publish",
    "publish_family",
    "read_words",
    "save_embedded",
    "write_part",
]
