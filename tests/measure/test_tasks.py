"""Results that are kept as they come: nothing of them is lost by a killed run or a full disk."""

import pytest
from disks import fill, small_disk

from sammed3d_nb.errors import UserError
from sammed3d_nb.measure.tasks import remembered, serially


def double(number: int) -> str:
    return f"{number} " * 200


def run(path, items, done=None):
    """The results, with what was not kept before noted in `done`."""

    def each(do, items):
        for item in items:
            if done is not None:
                done.append(item)
            yield from serially(do, [item])

    return list(remembered(each, path, {"model": "m"})(double, items))


def test_what_comes_after_a_line_that_was_broken_off_is_kept_too(tmp_path):
    path = tmp_path / "progress.jsonl"
    run(path, range(4))
    path.write_bytes(path.read_bytes()[:-30])  # killed in the middle of the last line
    done = []
    assert run(path, range(6), done) == [double(number) for number in range(6)]
    assert done == [3, 4, 5]
    done = []
    run(path, range(6), done)
    assert done == []


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_there(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "progress.jsonl"
        for leave in (0, 4096):
            fill(disk, leave)
            with pytest.raises(UserError, match=r"progress\.jsonl cannot be written; .*No space"):
                run(path, range(50))
            (disk / "filler").unlink()
        done = []
        assert run(path, range(50), done) == [double(number) for number in range(50)]
        assert 0 < len(done) < 50
