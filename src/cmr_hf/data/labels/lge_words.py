"""The words by which `lge_reports` decides: each pattern is a list of phrases, compared without regard to case."""

from __future__ import annotations

import re


def _any(*phrases: str, around: str = r"\b(?:{})\b") -> re.Pattern:
    return re.compile(around.format("|".join(phrases)), re.IGNORECASE)


# what is about late enhancement, or about what it shows
LGE = _any(
    r"late[- ]gad(?:olinium)?(?:[- ](?:enhancement|enhanced|uptake|hyper-?enhancement))?",
    r"lge",
    r"(?:late|delayed)(?:[- ]phase)?(?:[- ]myocardial)?(?:[- ]contrast)?[- ](?:hyper-?)?enhancement",
    r"hyper-?enhance(?:ment|d)",
    r"enhancement",
    r"scar(?:ring|s)?",
    r"fibrosis",
)
NOT_LGE = _any(
    r"(?:early(?: gadolinium)?|first[- ]pass(?: contrast)?|perfusion|pericardial|blood[- ]?pool|valv\w+|contrast|"
    r"post[- ]contrast)[- ](?:hyper-?)?enhancement",
    r"contrast[- ]enhanced",
)
# that it was looked for, not what was found
TECHNIQUE = _any(
    r"\b(?:lge|late gad\w*(?: enhancement)?|(?:late|delayed) enhancement) (?:images?|imaging|sequences?|study|protocol|"
    r"acquisitions?|stack|series)\b(?=.{0,30}\b(?:was|were|acquired|performed|obtained|using|with|after|at|minutes)\b)",
    r"\b(?:lge|enhancement) (?:was|were) (?:assessed|performed|evaluated|acquired|analy[sz]ed|quantified)\b",
    r"\b(?:assess|evaluate|look|query|rule out|assessment|evaluation|technique|protocol|indication|"
    r"clinical (?:question|details|history))\b.{0,60}$",
    r"^.*\?\s*$|\?\s?(?=[a-z]).*$",
    around="{}",
)
UNASSESSABLE = _any(
    r"non-?diagnostic",
    r"not (?:be )?(?:assessed|assessable|evaluated|performed|given|interpretable|acquired|administered)",
    r"could not be (?:\w+ )?(?:assessed|evaluated|interpreted)",
    r"cannot be (?:\w+ )?(?:assessed|evaluated|interpreted)",
    r"unable to (?:assess|evaluate)",
    r"uninterpretable",
    r"declined",
)
NOT_EXCLUDED = _any(
    r"(?:can(?:no|')?t|cannot|could not|not|never)\b[^.]{0,40}\b(?:excluded?|rule[d]? out|ruling out)",
    r"difficult to exclude",
    r"indeterminate",
)
DOUBLE_NEGATION = _any(r"(?:not|nor) (?:absent|negative|without|free of|devoid of)", r"no absence of", r"no doubt")
RESOLVED = _any(r"no longer", r"resolved", r"has cleared", r"disappear(?:ed|ance)", r"resolution of")
NO_NEW = _any(r"no new")
UNCHANGED = _any(
    r"un-?changed|persist(?:s|ent|ing)?|stable|again|remains?|still|as before",
    r"no (?:significant |interval |relevant )*(?:change|increase|decrease|progression|difference|regression)",
    r"increased|decreased|progress(?:ed|ive)|larger|smaller|more extensive|less extensive",
)
EARLIER = _any(
    r"previous(?:ly)?|prior|earlier|former|past|history of|known",
    r"in (?:19|20)\d\d",
    r"last (?:study|scan|examination|mri|cmr)",
)
NO_MORE = _any(
    r"no (?:other|further|additional|more)", r"any further", r"elsewhere|remaining|remainder|rest of|otherwise"
)
HEDGE = _any(
    r"possibl[ey]|potential(?:ly)?|probabl[ey]|likely|maybe|may be|might be|could be|appears? to be|apparent",
    r"questionable|equivocal|borderline|suspected|suspicious|suspicion|doubtful|uncertain|unclear",
    r"(?:vs\.?|versus) arte?fact",
)
# what follows is about the cause, not about whether there is any
CAUSE = _any(
    r"represent\w*|suggest\w*|consistent with|compatible with|in keeping with|due to|secondary to|indicat\w*",
    r"reflect\w*|raising|typical|concerning for",
    r"of (?:possible|probable|likely|uncertain|unclear)",
    r"(?:most likely|likely|probably|possibly) (?:representing|due|secondary|related|reflecting|in keeping|from)",
    around=r"\b(?:{})\b.*",
)
NO = _any(
    r"no|without|absen(?:t|ce)|neither|nor|none|not|nil|never",
    r"negative for|free (?:of|from)|devoid of|lack(?:s|ing)?(?: of)?",
    r"fail(?:s|ed)? to (?:show|demonstrate)",
    r"excludes?|excluded",
)
NO_AFTER = _any(
    r"\bnot(?: \w+)? (?:seen|identified|detected|demonstrated|present|evident|observed|noted|found|visible|"
    r"visuali[sz]ed|apparent|shown)\b",
    r"\b(?:absent|negative|excluded|ruled out|none|nil|normal|unremarkable)\b",
    r":\s*(?:no|0)\b",
    r"[:–-]\s*[–-]\s*$",
    r"\b(?:0(?:\.0+)?|zero) ?(?:%|g|grams?|percent|segments?)(?=\W|$)",
    around="{}",
)
EXCEPT = _any(
    r"except(?:ing)?(?: for)?",
    r"apart from|other than|with the exception of|aside from|save for|besides",
)
NEW_CLAUSE = _any(
    r";|\bbut\b|\bhowever\b|\balthough\b|\bthough\b|\bwhereas\b|\bwhile\b|\byet\b", around=r"\s*(?:{})[,\s]*"
)
IN_A_REGION = _any(
    r"sept\w+|\w*septum|lateral\w*|inferior\w*|infero\w+|anterior\w*|antero\w+|apex|apical|basal|base|papillary",
    r"segments?|rv|right ventric\w+|atri\w+|wall|insertion|hinge",
    around=r"\b(?:in|of|at|within|involving|along)\b.{{0,40}}\b(?:{})\b",
)
ALL_REGIONS = _any(r"(?:any|all|the) (?:\w+ )?segments?", r"(?:any|either) (?:\w+ )?(?:wall|ventricle)")
FOUND = _any(
    r"seen|present|noted|visible|evident|demonstrated|identified|observed|found|shows?|involving|affecting|extending",
    r"in|at|within|of|along",
)
INSERTION = _any(r"(?:insertion|hinge)[- ](?:points?|sites?|areas?)", r"rv insertion", r"hinge")
BEYOND_INSERTION = _any(
    r"\w*lateral\w*|apical|apex|basal|infarct\w*|subendocardial|transmural|mid-?wall|subepicardial|epicardial|territory"
)
