"""One colour per label, from the palette of Okabe and Ito (2008) that colour-blind readers can tell apart."""

LABEL_COLOURS = {
    1: "#E69F00",  # LV cavity: orange
    2: "#009E73",  # myocardium: bluish green
    3: "#56B4E9",  # RV: sky blue
    4: "#F0E442",  # LA: yellow
    5: "#0072B2",  # RA: blue
    6: "#CC79A7",  # scar: reddish purple
}
OTHER = "#BBBBBB"


def rgb_of(label: int) -> tuple[float, float, float]:
    """Red, green and blue (0-1) of a label; background is black, unknown labels are grey."""
    if label == 0:
        return (0.0, 0.0, 0.0)
    code = LABEL_COLOURS.get(label, OTHER)
    return tuple(int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
