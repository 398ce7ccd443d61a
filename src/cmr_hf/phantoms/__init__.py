"""Hearts made from equations, with exact truth for every task.

heart = Heart.draw(["NORM", "MINF"], seed=1)
pictures = render(heart, sax_stack(heart), "lge", time=0.6)
write_study("phantom", "MINF", seed=3)   # a whole examination as DICOM, with its truth
"""

from .anatomy import Heart
from .dicom_header import Dialect
from .examples import examples_of
from .planes import AORTA, LONG_AXES, OTHERS, Planes, join, long_axis, other_plane, sax_stack
from .population import DISEASES, Traits, draw_traits
from .protocol import SERIES, Protocol
from .render import Phantoms, render
from .scanner import Scanner
from .signal import CONTRASTS
from .study import write_study

__all__ = [
    "AORTA",
    "CONTRASTS",
    "DISEASES",
    "LONG_AXES",
    "OTHERS",
    "SERIES",
    "Dialect",
    "Heart",
    "Phantoms",
    "Planes",
    "Protocol",
    "Scanner",
    "Traits",
    "draw_traits",
    "examples_of",
    "join",
    "long_axis",
    "other_plane",
    "render",
    "sax_stack",
    "write_study",
]
