"""What an object's code or name means in SNOMED CT, for the formats that ask for codes."""

from __future__ import annotations

import re
from typing import NamedTuple

_SIDES = {"left": "Left", "l": "Left", "right": "Right", "r": "Right"}
_OTHER_WORDS = {
    "oesophagus": "Esophagus",
    "urinarybladder": "Bladder",
    "smallbowel": "SmallIntestine",
    "largebowel": "LargeIntestine",
    "gallbladder": "Gallbladder",
    "tumour": "Neoplasm",
    "tumor": "Neoplasm",
    "oedema": "Edema",
    "ivc": "InferiorVenaCava",
}
_ALTERED = frozenset({"Neoplasm", "Mass", "Cyst", "Lesion", "Edema", "Nodule", "Hemorrhage", "Necrosis", "Infarct"})


class Code(NamedTuple):
    """A concept: its number, the scheme of that number, and its name."""

    value: str
    scheme: str
    meaning: str


class Term(NamedTuple):
    """What an object is.

    Attributes:
        category: Anatomical structure, altered structure or, where nothing is known, tissue.
        kind: Liver, kidney, neoplasm, …
        side: Left, right or None.
    """

    category: Code
    kind: Code
    side: Code | None = None

    @property
    def known(self) -> bool:
        """Whether anything is known of it."""
        return self.kind != self.category


def term_of(name: str, code: str = "") -> Term:
    """What an object is: what its code says, or else its name.

    A name that says the same as the code adds the side to it; one that says something else is passed over.

    Args:
        name: It is looked up among the SNOMED CT concepts that DICOM uses, as pydicom lists them. Left and right may
            stand before or behind: "left kidney", "kidney_left", "Kidney L".
        code: Its number in SNOMED CT; "" if nobody said. One that DICOM does not use is called as the object is.
    """
    named = _named(name)
    return named if code in ("", named.kind.value) else _coded(code, name, named.category)


def _coded(value: str, name: str, category: Code) -> Term:
    from pydicom.sr.codedict import codes

    keywords = [keyword for keyword, (found, *_) in codes.SCT.concepts.items() if found == value]
    kind = _code(min(keywords, key=len)) if keywords else None  # of Kidney, EndoRenal and KidneyStructure the plain one
    if kind is None:
        return Term(category, Code(value, "SCT", name[:64]))
    return Term(_category_of(next((one for one in keywords if one in _ALTERED), "")), kind)


def _named(name: str) -> Term:
    words = [word.lower() for word in re.findall(r"[A-Za-z]+[0-9]*|[0-9]+", name)]
    side = None
    for end in (0, -1):
        if len(words) > 1 and words[end] in _SIDES:
            side = _code(_SIDES[words.pop(end)])
            break
    keyword = _OTHER_WORDS.get("".join(words)) or "".join(word.capitalize() for word in words)
    for candidate in (keyword, keyword.removesuffix("s")):
        kind = _code(candidate) if candidate else None
        if kind is not None:
            return Term(_category_of(candidate), kind, side)
    tissue = _code("Tissue")
    assert tissue is not None
    return Term(tissue, tissue)


def _category_of(keyword: str) -> Code:
    category = _code("MorphologicallyAbnormalStructure" if keyword in _ALTERED else "AnatomicalStructure")
    assert category is not None
    return category


def _code(keyword: str) -> Code | None:
    from pydicom.sr.codedict import codes

    try:
        found = getattr(codes.SCT, keyword)
    except AttributeError:
        return None
    return Code(found.value, found.scheme_designator, found.meaning)
