"""Has the valve plane passed the most basal slice at end-systole, so that it shows outflow tract or atrium there?

In systole the base comes down by one or two centimetres and the wall thickens. A slice that stays within the ventricle
shows more wall at ES than at ED, and no more cavity than the slice below it. Where the most basal slice shows clearly
less wall than at ED, and more cavity than the next one, the valve plane may have passed it.

That is a sign, no proof, so nothing is taken away: the slice is named, and ESV is so much less sure. Taking it away was
tried on the masks of a network. In ACDC (validation) the sign is there in two of ten patients, both drawn a slice too
high at ES; without these slices the mean error of ESV falls from 15 to 7 %. In Sunnybrook (validation) it is there in
two of four, whose experts keep the slice, and the mean error rises from 15 to 24 %. Experts' own masks of ACDC show it
in five of 50 (train and validation).
"""

import numpy as np

from .volumes import LV, MYOCARDIUM, SCAR

LESS_WALL = 0.8  # of what the slice shows at ED


def passed_slice(labels: np.ndarray, order: np.ndarray, ed: int | None, es: int | None) -> int | None:
    """The slice that the valve plane may have passed at ES.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`): 1 LV cavity, 2 myocardium, 6 scar.
        order (`np.ndarray` of shape `(z,)`): slices from base to apex.
        ed, es (`int`, *optional*): phases, from 0.

    Returns:
        Its index, or `None` where there is no such sign.
    """
    if ed is None or es is None:
        return None
    cavity = np.count_nonzero(labels[es] == LV, axis=(1, 2))[order]
    filled = np.flatnonzero(cavity)
    if len(filled) < 2:
        return None
    top, next_ = filled[:2]
    at_ed, at_es = (np.count_nonzero(np.isin(labels[phase, order[top]], (MYOCARDIUM, SCAR))) for phase in (ed, es))
    return int(order[top]) if at_es < LESS_WALL * at_ed and cavity[top] > cavity[next_] else None
