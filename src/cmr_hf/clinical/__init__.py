"""From label maps to what a clinician reads: areas, volumes, ejection fraction, mass, figures and files."""

from .volumes import CineMeasures, measure

__all__ = ["CineMeasures", "measure"]
