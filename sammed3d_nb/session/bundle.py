"""Everything of a session in one zip: what was exported, its record, and who made it, when, with what."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from sammed3d_nb.session import record
from sammed3d_nb.session.export import predicted
from sammed3d_nb.session.session import Session
from sammed3d_nb.version import __version__

ABOUT = "about.json"


def bundle(session: Session, files: Sequence[Path], name: str) -> bytes:
    """A zip of files that were exported, with the session's record and `ABOUT`.

    Args:
        session: Of the objects that were exported.
        files: What was written; each lies in the zip under its own name.
        name: What the record is called in it, without suffix.
    """
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as into:
        for file in files:
            into.write(file, file.name)
        into.writestr(f"{name}{record.SUFFIX}", session.record_text)
        into.writestr(ABOUT, json.dumps(about(session), indent=1, ensure_ascii=False))
    return packed.getvalue()


def about(session: Session) -> dict[str, Any]:
    """Who, when, with which model, and for each object its figures and prompts; no names where it is anonymous."""
    objects = [
        {
            **asdict(told),
            "models": list(dict.fromkeys(said.told.model[0] for said in predicted(item) if said.told is not None)),
            "said": [f"{'+' if prompt.positive else '−'} {prompt.gesture}" for prompt in item.prompts],
        }
        for told, item in zip(session.measure(), session.objects, strict=True)
    ]
    return {
        "case": None if session.anonymous else session.volume.name,
        "annotator": None if session.anonymous else session.annotator,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": f"sammed3d-nb {__version__}",
        "model": record.of_model(session.model, anonymous=session.anonymous),
        "objects": objects,
    }
