"""Hearts made from equations, with exact truth for every task.

heart = Heart.draw(["NORM", "MINF"], seed=1)
pictures = render(heart, sax_stack(heart), "lge", time=0.6)
"""

from .anatomy import Heart
from .planes import AORTA, LONG_AXES, OTHERS, Planes, join, long_axis, other_plane, sax_stack
from .population import DISEASES, Traits, draw_traits
from .render import Phantoms, render
from .scanner import Scanner
from .signal import CONTRASTS

__all__ = [
    "AORTA",
    "CONTRASTS",
    "DISEASES",
    "LONG_AXES",
    "OTHERS",
    "Heart",
    "Phantoms",
    "Planes",
    "Scanner",
    "Traits",
    "draw_traits",
    "join",
    "long_axis",
    "other_plane",
    "render",
    "sax_stack",
]
