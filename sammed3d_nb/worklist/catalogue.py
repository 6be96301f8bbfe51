"""The cases of a worklist and how they are, before any of them is open."""

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.worklist import people
from sammed3d_nb.worklist.entries import Entry, entries_of
from sammed3d_nb.worklist.index import Index
from sammed3d_nb.worklist.labels import LabelSet, read_labels
from sammed3d_nb.worklist.lease import leases
from sammed3d_nb.worklist.listing import STATE, Found, found_in, keyed
from sammed3d_nb.worklist.standing import DONE

_BYTES = 4  # of a voxel, at most


class Catalogue:
    """What is in a `worklist.Worklist`; see there."""

    def __init__(
        self,
        *paths: str | Path,
        output: str | Path | None = None,
        annotator: str | None = None,
        labels: LabelSet | str | Path | None = None,
        readings: int = 1,
        blind: bool = False,
        review: bool = False,
        anonymous: bool = False,
        cases: Sequence[Found] | None = None,
    ) -> None:
        if blind and review:
            raise UserError("A reviewer sees what others did, and a blinded reader does not; choose one of both.")
        if readings < 1:
            raise UserError(f"{readings} readings of a case were asked for; expected 1 or more.")
        absolute = [os.path.abspath(os.path.expanduser(path)) for path in paths]  # noqa: PTH100, PTH111  links stay
        for path in absolute:
            if not os.path.lexists(path):
                raise UserError(f"{path} does not exist; check the path.")
        unique: dict[str, Found] = {}
        for one in found_in(absolute) if cases is None else keyed(cases):
            unique.setdefault(one.key, one)  # what is given twice is one case
        self.cases: tuple[Found, ...] = tuple(unique.values())
        if not self.cases:
            raise UserError("A worklist is made of images; give them, their folder or a .csv.")
        self.folder = Path.cwd() if output is None else Path(output).absolute()
        self.who = people.annotator(annotator)
        self.blind, self.reviewing, self.anonymous, self.readings = blind, review, anonymous, readings
        self.labels = labels if labels is None or isinstance(labels, LabelSet) else read_labels(labels)
        self._sets = {file: read_labels(file) for file in {one.label_set for one in self.cases} if file}
        self._index = Index(self.folder)
        self._numbers = {one.key: number for number, one in enumerate(self.cases)}

    @property
    def state(self) -> Path:
        """The folder of the state, beside the records."""
        return self.folder / STATE

    def entries(self) -> list[Entry]:
        """All cases as they are now."""
        told = leases(self.state)
        held = {case.split("@")[0]: told[case] for case in sorted(told, key=lambda case: "@" not in case)}
        if self.blind:
            held = {case.split("@")[0]: told[case] for case in told if case.endswith(self._own_lease)}
        return entries_of(
            self.cases, self._index.contents(), held, who=self.who, blind=self.blind, readings=self.readings
        )

    def entry(self, case: int | str) -> Entry:
        """One case as it is now."""
        return self.entries()[self.number(case)]

    def progress(self) -> tuple[int, int]:
        """How many cases are done, and how many there are."""
        return sum(one.state == DONE for one in self.entries()), len(self.cases)

    def number(self, case: int | str) -> int:
        """The place of a case in the list, by its number, key or name.

        Raises:
            UserError: There is none, or several have that name.
        """
        if isinstance(case, int):
            if not 0 <= case < len(self.cases):
                raise UserError(f"There is no case {case}; expected 0 to {len(self.cases) - 1}.")
            return case
        if case in self._numbers:
            return self._numbers[case]
        named = [number for number, one in enumerate(self.cases) if one.name == case]
        if len(named) != 1:
            raise UserError(f"{len(named)} cases are called {case!r:.80}; give its number, from 0.")
        return named[0]

    def labels_of(self, case: int | str) -> LabelSet | None:
        """The label set of a case; None without one."""
        found = self.cases[self.number(case)]
        return self._sets[found.label_set] if found.label_set else self.labels

    def read(self, case: int | str) -> Volume:
        """The volume of a case."""
        found = self.cases[self.number(case)]
        path = Path(found.path)
        return Volume.read(path, series=found.series if path.is_dir() else None)

    def nbytes(self, case: int | str) -> int:
        """Bytes of a case's volume, as far as one guesses before it is read; 0 where its header does not say."""
        size = self.cases[self.number(case)].size
        return prod(size) * _BYTES if size else 0

    def wanted(self, case: int | str) -> int:
        """How many annotators are to read a case, whoever asks for one more."""
        return self.cases[self.number(case)].readings or self.readings

    @property
    def _own_lease(self) -> str:
        return f"@{people.slug(self.who)}"
