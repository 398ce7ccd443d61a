"""The only way out of the house: folders that transformers opens, with this package installed or without it."""

from .export import export, save_embedded

__all__ = ["export", "save_embedded"]
