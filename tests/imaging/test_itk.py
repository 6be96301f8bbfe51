"""What decoders print is heard; what others print meanwhile goes where it always went."""

import os
import subprocess
import sys

import pytest

from sammed3d_nb.imaging.itk import complaints


def test_the_decoders_lines_are_heard_and_others_go_on(capfd):
    with complaints() as heard:
        os.write(2, b"Corrupt JPEG data: premature end of data segment\n")
        os.write(2, b"a line of another thread\n")
        print("one of Python's", file=sys.stderr)
    assert heard == ["Corrupt JPEG data: premature end of data segment"]
    assert sorted(capfd.readouterr().err.splitlines()) == ["a line of another thread", "one of Python's"]


def fail_loudly():
    with complaints():
        os.write(2, b"DimSize required and not defined.\n")
        raise ValueError


def test_nothing_is_shown_of_what_failed(capfd):
    with pytest.raises(ValueError, match=r"^$"):
        fail_loudly()
    assert capfd.readouterr().err == ""
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"


def test_a_program_without_standard_error():
    code = (
        "import os; os.close(2)\nfrom sammed3d_nb.imaging.itk import complaints\nwith complaints() as told: print(told)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
