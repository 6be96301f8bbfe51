"""What an object's name means in SNOMED CT, for the formats that ask for codes."""

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
        """Whether the name was understood."""
        return self.kind != self.category


def term_of(name: str) -> Term:
    """Look a name up among the SNOMED CT concepts that DICOM uses, as pydicom lists them.

    Left and right may stand before or behind: "left kidney", "kidney_left", "Kidney L".
    """
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
            altered = candidate in _ALTERED
            category = _code("MorphologicallyAbnormalStructure" if altered else "AnatomicalStructure")
            assert category is not None
            return Term(category, kind, side)
    tissue = _code("Tissue")
    assert tissue is not None
    return Term(tissue, tissue)


def _code(keyword: str) -> Code | None:
    from pydicom.sr.codedict import codes

    try:
        found = getattr(codes.SCT, keyword)
    except AttributeError:
        return None
    return Code(found.value, found.scheme_designator, found.meaning)
