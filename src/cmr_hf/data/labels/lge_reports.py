"""Late gadolinium enhancement (LGE) in the text of a clinical report: present, none or uncertain, and why.

English only. Each sentence about enhancement or scar is split into clauses, and the first rule that fits decides a
clause; the report's label follows from all of them:

| sentences say                                              | label     |
|------------------------------------------------------------|-----------|
| only present (and possible elsewhere)                      | present   |
| only absent                                                | none      |
| present, and absent in some region or "elsewhere"          | present   |
| present and absent as a whole                              | uncertain |
| possible or cannot be excluded; not assessable             | uncertain |
| absent in one region only; earlier LGE without what is now | uncertain |
| nothing                                                    | uncertain |

Enhancement at the RV insertion points counts as present, as it does to the eye that labels pictures; `minor` says
that nothing else was described, because it is often taken for a non-specific, non-ischaemic finding: drop those rows
where it should not count. Blood pool, pericardium, valve and "early" enhancement, and mere technique ("LGE images
were acquired") say nothing. Rules are checked on sentences written for the tests, not on a hospital's reports:
measure them on a sample of one's own before use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import lge_words as words

PRESENT, NONE, UNCERTAIN = "present", "none", "uncertain"


@dataclass(frozen=True)
class LgeFinding:
    """What a report says about LGE.

    Attributes:
        label: "present", "none" or "uncertain"; for `LabelledStack.lge`, "uncertain" is no label.
        sentence: the one that decided, as in the report, so with whatever it holds; "" where none did.
        rule: which rule decided it.
        minor: whether only enhancement at the RV insertion points was described.
    """

    label: str
    sentence: str
    rule: str
    minor: bool = False


@dataclass(frozen=True)
class _Statement:
    kind: str  # present, none, regional none, uncertain, earlier
    sentence: str
    rule: str
    insertion: bool = False


def read_lge(report: str) -> LgeFinding:
    """Reads one report.

    Args:
        report: English text, with or without headings; at most 200,000 characters of it are read.

    Returns:
        The label, the sentence and the rule, see the table above.
    """
    statements = [one for sentence in _sentences(report[:200_000]) for one in _statements(sentence)]
    kinds: dict[str, list[_Statement]] = {}
    for one in statements:
        kinds.setdefault(one.kind, []).append(one)
    present, none = kinds.get(PRESENT, []), kinds.get(NONE, [])
    if present and none:
        return LgeFinding(UNCERTAIN, f"{present[0].sentence} / {none[0].sentence}", "sentences contradict each other")
    if present:
        # the sentence that says most: one beyond the insertion points, if any
        first = next((one for one in present if not one.insertion), present[0])
        return LgeFinding(PRESENT, first.sentence, first.rule, all(one.insertion for one in present))
    for kind, label, rule in (
        (UNCERTAIN, UNCERTAIN, None),
        (NONE, NONE, None),
        ("regional none", UNCERTAIN, "absent in one region only"),
        ("earlier", UNCERTAIN, "earlier finding only"),
    ):
        if kind in kinds:
            return LgeFinding(label, kinds[kind][0].sentence, rule or kinds[kind][0].rule)
    return LgeFinding(UNCERTAIN, "", "no sentence about LGE")


def _sentences(report: str) -> list[str]:
    text = re.sub(r"[ \t]+", " ", report.replace("\r", "\n"))
    text = re.sub(r":[ ]*\n+", ": ", text)  # a heading on a line of its own
    text = re.sub(r"\b(no|vs|approx|e\.g|i\.e|Dr|Fig)\. ?(?=[a-z\d])", r"\1 ", text)
    text = re.sub(r"(?<![.:;!?])\n(?=[a-z(])", " ", text)  # a sentence over two lines
    parts = re.split(r"(?<=[.!?])\s+(?=\S)|\n+|(?<=[a-z])\.(?=[A-Z])", text)
    return [part.strip(" \t\n*•-") for part in parts if part and part.strip(" \t\n*•-.")]


def _statements(sentence: str) -> list[_Statement]:
    if not _mentions(sentence):
        return []
    found, about_lge = [], False
    for clause in words.NEW_CLAUSE.split(sentence):
        head, *rest = words.EXCEPT.split(clause, maxsplit=1)
        if rest and _mentions(head) and words.NO.search(head):
            hedged = words.HEDGE.search(rest[0]) or words.NOT_EXCLUDED.search(rest[0])
            kind = UNCERTAIN if hedged else PRESENT
            found.append(_Statement(kind, sentence, "absent except somewhere", _only_insertion(rest[0])))
        elif _mentions(clause) or (about_lge and (words.NOT_EXCLUDED.search(clause) or words.HEDGE.search(clause))):
            found += _of_clause(clause, sentence)
        about_lge |= _mentions(clause)
    if {UNCERTAIN, NONE} <= {one.kind for one in found}:
        found = [one for one in found if one.kind != NONE]  # "no definite LGE, but it cannot be excluded"
    return found


def _of_clause(clause: str, sentence: str) -> list[_Statement]:
    """The first rule that fits; none for mere technique."""
    text = words.NOT_LGE.sub(" ", clause).strip()

    def say(kind: str, rule: str) -> list[_Statement]:
        return [_Statement(kind, sentence, rule, _only_insertion(text))]

    if re.fullmatch(r"[^:]{0,60}:\s*[.]?", text):  # a heading without a word after it
        return []
    if words.UNASSESSABLE.search(text):
        return say(UNCERTAIN, "not assessed or not assessable")
    if words.NOT_EXCLUDED.search(text):
        return say(UNCERTAIN, "cannot be excluded")
    if words.DOUBLE_NEGATION.search(text):
        return say(PRESENT, "double negation")
    if words.RESOLVED.search(text):
        return say(NONE, "no longer there")
    if words.NO_NEW.search(text):
        return say("earlier", "no new LGE")
    if words.UNCHANGED.search(text):
        absent = _negated(words.UNCHANGED.sub(" ", text))
        return say(NONE, "still absent") if absent else say(PRESENT, "unchanged or changed, so there")
    if words.NO_MORE.search(text) and (negation := words.NO.search(text)):
        before = text[: negation.start()]
        there = _mentions(before) and not _negated(before)
        return say(PRESENT, "there, and absent elsewhere") if there else say("regional none", "absent elsewhere")
    bare = words.TECHNIQUE.sub(" ", text)
    if bare != text and not words.NO_AFTER.search(text):
        if not _mentions(bare):
            return []
        text = bare
    if _negated(text):
        return say("regional none" if _regional(text) else NONE, "negation")
    finding = words.CAUSE.sub(" ", text)
    if words.EARLIER.search(finding):
        return say("earlier", "earlier finding")
    if words.HEDGE.search(finding):
        return say(UNCERTAIN, "possible")
    return say(PRESENT, "insertion point" if _only_insertion(text) else "mentioned without negation")


def _mentions(text: str) -> bool:
    return words.LGE.search(words.NOT_LGE.sub(" ", text)) is not None


def _only_insertion(text: str) -> bool:
    return bool(words.INSERTION.search(text)) and not words.BEYOND_INSERTION.search(text)


def _regional(text: str) -> bool:
    """Whether a negation is about one region, not about the whole heart ("no mid-wall enhancement in any segment")."""
    return words.IN_A_REGION.search(words.ALL_REGIONS.sub(" ", text)) is not None


def _negated(text: str) -> bool:
    """Whether a negation reaches a mention of LGE: before it, within its own list, or after it."""
    mentions = list(words.LGE.finditer(text))[:20]
    if not mentions:
        return False
    if words.NO_AFTER.search(text, mentions[0].start()):
        return True
    for mention in mentions:
        for negation in words.NO.finditer(text, 0, mention.start()):
            between, after = text[negation.end() : mention.start()], text[mention.end() : mention.end() + 60]
            broken = re.search(r"[,:]|\band\b", between) and not re.search(r"\b(?:or|nor)\b", between, re.IGNORECASE)
            if not broken or not words.FOUND.search(after):
                return True
    return False
