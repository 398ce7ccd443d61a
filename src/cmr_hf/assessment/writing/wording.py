"""Names of figures for people, their groups on the page, and how many digits they deserve."""

from collections.abc import Callable

TILES = ("lv_ef", "lv_edv", "lv_esv", "lv_mass", "rv_ef", "rv_edv", "la_volume_max", "t1_native", "t2", "ecv")
WORDS = {
    "lv": "LV", "rv": "RV", "la": "LA", "ra": "RA", "edv": "EDV", "esv": "ESV", "sv": "SV", "ef": "EF",
    "co": "cardiac output", "mass": "mass", "index": "per body surface area", "bsa": "body surface area",
    "t1": "T1", "t2": "T2", "ecv": "extracellular volume", "lge": "late enhancement", "5sd": "5 SD", "fwhm": "FWHM",
    "ed": "ED", "es": "ES", "max": "largest", "min": "least",
}  # fmt: skip
DIGITS = {"ml": 0, "%": 0, "g": 0, "ms": 0, "l/min": 1, "mm": 1, "cm²": 1, "m²": 2, "ml/m²": 0, "g/m²": 0}
GROUPS: dict[str, Callable[[str], bool]] = {
    "Left ventricle": lambda name: name.startswith("lv_"),
    "Right ventricle": lambda name: name.startswith("rv_"),
    "Atria": lambda name: name.startswith(("la_", "ra_")),
    "Tissue": lambda name: name.startswith(("t1_", "t2", "ecv", "lge_")),
    "Body": lambda name: name == "bsa",
}


def name_of(name: str) -> str:
    """ "lv_edv_index" as "LV EDV per body surface area"."""
    words = " ".join(WORDS.get(word, word) for word in name.split("_"))
    return words[:1].upper() + words[1:]


def digits_of(unit: str) -> int:
    """Decimals of a figure in this unit."""
    return DIGITS.get(unit, 1)
