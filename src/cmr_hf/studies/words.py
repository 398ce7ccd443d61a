"""Free text of a header, where anyone may have typed anything, told in the words of a closed list.

What comes out is never a piece of the text itself: each pattern that is found gives its own term, so that a name
or a number of a patient cannot pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# term -> pattern, matched in lower case with every run of other signs than letters and digits made one blank
_PATTERNS = {
    # views
    "SAX": r"\b(p?sax\d*|sa|short ?ax(is)?|kurze? ?achse|petit axe)\b",
    "2CH": r"\b(2 ?ch(amber)?s?|2 ?cv|two chambers?|2 ?kammer\w*|vla|2c)\b",
    "3CH": r"\b(3 ?ch(amber)?s?|3 ?cv|three chambers?|3 ?kammer\w*|3c|a?plax)\b",
    "4CH": r"\b(4 ?ch(amber)?s?|4 ?cv|four chambers?|4 ?kammer\w*|hla|4c)\b",
    "LVOT": r"\blvot\b",
    "RVOT": r"\brvot\b",
    "aorta": r"\b(aort\w*|ao|candy ?cane|aov|av plane)\b",
    "pulmonary": r"\b(pulm\w*|pa|mpa)\b",
    "long axis": r"\b(lax|long ?ax(is)?|radial)\b",
    "axial": r"\b(ax|axial|tra|trans(versal|verse)?)\b",
    "coronal": r"\b(cor|coronal)\b",
    "sagittal": r"\b(sag|sagittal)\b",
    # what is looked for
    "localiser": r"\b(localis?z?er\w*|loc|scouts?|survey|3 ?plane|pilot|lok\w*)\b",
    "cine": r"\b(cine\w*|function|retro|ssfp retro|funktion)\b",
    "LGE": r"\b(lge|late|delayed|mde|viab\w*|dhe|de (?=psir|ir|tfl|sax|sa|lax|[234] ?ch))\b",
    "PSIR": r"\bpsir\w*\b",
    "magnitude": r"\b(mag|magnitude)\b",
    "MOLLI": r"\b(sh|sa)?molli\w*\b|\bsasha\b",
    "T1 map": r"\bt1 ?(map\w*|myo\w*)\b|\bmap\w* t1\b",
    "T2 map": r"\bt2 ?(map\w*|myo\w*)\b|\bmap\w* t2\b",
    "T2* map": r"\bt2 ?star\b",
    "ECV": r"\becv\b",
    "T2 preparation": r"\bt2 ?prep\w*\b",
    "native": r"\b(native|nativ|pre|pre ?(contrast|gd|gad\w*))\b",
    "post-contrast": r"\b(post|post ?(contrast|gd|gad\w*|km))\b",
    "motion corrected": r"\bmoco\b",
    "perfusion": r"\b(perf\w*|first pass)\b",
    "stress": r"\b(stress|adeno\w*|rega\w*)\b",
    "rest": r"\brest\b",
    "flow": r"\b(flow|fluss|pc|venc|qflow|phase ?contrast|v\d{2,3}(in|through|fh|ap|rl)?)\b",
    "STIR": r"\b(stir|tirm)\b",
    "T1 weighted": r"\b(t1 ?w|t1 ?(tse|fse|bb))\b",
    "T2 weighted": r"\b(t2 ?w|t2 ?(tse|fse|bb)|oedema|edema)\b",
    "dark blood": r"\b(db|bb|dark ?blood|black ?blood|haste|tse|fse)\b",
    "TI scout": r"\b(ti ?scout|look ?locker|ti ?finder|tiscout)\b",
    "tagging": r"\b(tag\w*|cspamm|spamm)\b",
    "strain": r"\b(dense|strain\w*)\b",
    "angiography": r"\b(mra|angio\w*|twist)\b",
    "whole heart": r"\b(whole ?heart|3d ?nav\w*|nav\w*)\b",
    "real time": r"\b(real ?time|rt|free ?breath\w*)\b",
    "Dixon": r"\b(dixon|mdixon|water|fat)\b",
    "reformat": r"\b(mpr|reformat\w*|mip)\b",
    # sequences
    "bSSFP": r"\b(trufi|tfi\w*|ssfp|bssfp|fiesta|b ?ffe|bal(anced)? ?ffe|true ?fisp|truefisp|bffe)\b",
    "gradient echo": r"\b(flash|fl\w*2d\w*|gre|spgr|fgre|ffe|tfe)\b",
    "inversion recovery": r"\b(ir|inversion|tfl\w* ir)\b",
    "single shot": r"\b(single ?shot|ss)\b",
}
_COMPILED = {term: re.compile(pattern) for term, pattern in _PATTERNS.items()}
_SEPARATORS = re.compile(r"[^a-z0-9]+")
_T2_PREPARATION = re.compile(r"t2 ?prep\.? ?(?:duration|time)? ?[=:]? ?(\d{1,3}(?:\.\d+)?) ?ms", re.IGNORECASE)

VIEW_TERMS = ("SAX", "2CH", "3CH", "4CH", "LVOT", "RVOT", "aorta", "pulmonary", "long axis")


def terms_of(*texts: str) -> tuple[str, ...]:
    """Known terms that occur in any of some free texts, in the order of the list.

    Args:
        texts: descriptions, names of protocols and sequences.

    Returns:
        Terms of this file's list only, such as ("4CH", "cine", "bSSFP"); empty when nothing is known.
    """
    plain = [_SEPARATORS.sub(" ", text.lower()[:256].replace("t2*", "t2star ")).strip() for text in texts if text]
    return tuple(term for term, pattern in _COMPILED.items() if any(pattern.search(text) for text in plain))


def t2_preparation_ms(texts: Iterable[str]) -> float | None:
    """The duration that a comment like "T2 prep. duration = 25 ms" tells; None without one."""
    found = next((match for text in texts if text and (match := _T2_PREPARATION.search(text[:1024]))), None)
    return float(found[1]) if found else None


_VENDORS = (
    ("Siemens", r"siemens"),
    ("Philips", r"philips"),
    ("GE", r"\bge\b|general electric"),
    ("Canon", r"canon|toshiba"),
    ("United Imaging", r"united imaging|\buih\b"),
    ("Fujifilm", r"hitachi|fuji"),
    ("Esaote", r"esaote"),
    ("phantom", r"^cmr_hf phantom$"),
)


def vendor_of(text: str) -> str:
    """The maker of the scanner, of a closed list; "other" for any other text, "" for none."""
    if not text.strip():
        return ""
    return next((name for name, pattern in _VENDORS if re.search(pattern, text.lower())), "other")
