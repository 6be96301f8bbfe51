"""Who is let in: keys, names of the server, pages of other sites; and what logs and answers give away."""

import logging
import os
import stat

import httpx
import numpy as np
import pytest
from serving import image, running

from sammed3d_nb.commands.cli import main
from sammed3d_nb.errors import UserError
from sammed3d_nb.server import keys
from sammed3d_nb.server.keys import Keys
from sammed3d_nb.server.refusals import Refused


@pytest.fixture
def file(tmp_path, capsys):
    path = tmp_path / "keys"
    found = {}
    for name in ("ann", "bob"):
        assert main(["keys", "add", str(path), name]) == 0
        found[name] = capsys.readouterr().out.strip()
    return path, found


def test_a_file_of_keys_holds_names_and_hashes(file, capsys):
    path, found = file
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "ann:sha256:" in text
    assert not any(key in text for key in found.values())
    assert all(len(key) > 40 for key in found.values())
    assert main(["keys", "list", str(path)]) == 0
    assert capsys.readouterr().out.split() == ["ann", "bob"]
    assert main(["keys", "add", str(path), "ann"]) == 2
    assert "has a key of ann already" in capsys.readouterr().err
    assert main(["keys", "add", str(path), "no/name"]) == 2
    assert main(["keys", "remove", str(path), "eve"]) == 2


def test_keys_say_who_it_is_and_are_read_again_when_they_change(file):
    path, found = file
    known = Keys(path)
    assert known.who(f"Bearer {found['ann']}") == "ann"
    assert known.who(f"bearer {found['bob']}") == "bob"
    for wrong in (None, "", "Bearer", "Bearer ", "Basic abc", f"Bearer {found['ann']}x", "Bearer \udce4", found["ann"]):
        with pytest.raises(Refused) as caught:
            known.who(wrong)
        assert caught.value.status == 401
    keys.remove(path, "ann")
    os.utime(path, (1, 1))
    with pytest.raises(Refused):
        known.who(f"Bearer {found['ann']}")
    assert known.who(f"Bearer {found['bob']}") == "bob"


@pytest.mark.parametrize("text", ["", "ann", "ann:md5:00", "ann:sha256:xyz", "../x:sha256:" + "0" * 64])
def test_files_that_hold_no_keys_are_refused(tmp_path, text):
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UserError):
        Keys(path)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_file_that_others_could_write_is_refused(file):
    path, _ = file
    path.chmod(0o622)
    with pytest.raises(UserError, match="chmod 600"):
        Keys(path)


def test_without_its_key_nobody_comes_in_and_nobody_finds_anothers_work(tmp_path, file):
    path, found = file
    with running(tmp_path / "kept", keys=Keys(path)) as server:
        assert httpx.get(server.url + "/healthz").status_code == 200
        for where in ("/claim", "/set_image", "/undo", "/add_point_interaction", "/upload_image", "/m/ball/claim"):
            assert server.post(where).status_code == 401
        assert httpx.get(server.url + "/capabilities").status_code == 401
        with pytest.raises(httpx.HTTPStatusError) as caught:
            server.client(key="wrong")
        assert "none of this server's" in caught.value.response.json()["detail"]
        ann, mask = server.begun(key=found["ann"])
        ann.add_point_interaction([10, 22, 30], True)
        stolen = {"X-Lease-Token": ann._lease_token, "Authorization": f"Bearer {found['bob']}"}
        assert httpx.post(server.url + "/undo", headers=stolen).status_code == 403
        ann.close()
        bob, theirs = server.begun(key=found["bob"])
        bob.add_initial_seg_interaction(mask)
        assert bob.undo() is True
        assert not theirs.any()
        assert bob.undo() is False
        bob.close()
        ann, _again = server.begun(key=found["ann"])
        assert ann.undo() is True
        ann.close()
    assert {place.name for place in (tmp_path / "kept").iterdir()} == {"images", "ann", "bob"}


def test_pages_in_a_browser_are_refused(server):
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"},
                    {"Host": "evil.example:1527"}):  # fmt: skip
        response = server.post("/claim", headers=headers)
        assert response.status_code == 403
        assert response.json()["detail"]
    assert not len(server.house.leases)
    assert server.post("/claim", headers={"Host": "localhost:1527"}).status_code == 200


def test_logs_shorten_tokens_and_name_no_keys(tmp_path, file, caplog):
    path, found = file
    with caplog.at_level(logging.DEBUG), running(tmp_path / "kept", keys=Keys(path)) as server:
        session, _ = server.begun(key=found["ann"])
        token = session._lease_token
        session.add_point_interaction([10, 22, 30], True)
        session.close()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("sammed3d_nb")]
    assert any(f"ann/{token[:6]}…" in line for line in ours)
    assert not any(token in line or found["ann"] in line for line in ours)
    line = next(line for line in ours if "click 1 of object 1" in line)
    assert all(f"{space} (" in line for space in ("array", "voxel", "lps", "ras", "cube", "grid"))
    assert any("LPS (axial) is assumed" in line for line in ours)


def test_what_is_too_large_is_told_before_it_is_taken(server):
    session, mask = server.begun()
    with session:
        session.add_point_interaction([10, 22, 30], True)
        before = mask.copy()
        with pytest.raises(httpx.HTTPStatusError) as caught:
            session.set_image(np.zeros((1, 400, 1000, 1000), np.uint8), {"spacing": [1, 1, 1]})
        assert caught.value.response.status_code == 413
        assert "GB" in caught.value.response.json()["detail"]
        long = server.post("/add_point_interaction", session, content=b"[" * 200_000)
        assert long.status_code == 413
        session.undo()
        assert before.any()
        assert not mask.any()


def test_unknown_addresses_get_a_sentence(server):
    for method, path, status in (("GET", "/nothing", 404), ("DELETE", "/claim", 405), ("GET", "/claim", 405),
                                 ("POST", "/m/other/claim", 404), ("PUT", "/x", 404)):  # fmt: skip
        response = httpx.request(method, server.url + path)
        assert response.status_code == status
        assert response.json()["detail"]
    assert httpx.get(server.url).json()["ok"] is True


def test_serve_says_what_it_needs(tmp_path, capsys):
    kept = ["--records", str(tmp_path / "kept")]
    for words, why in (
        (["serve", "--host", "0.0.0.0", *kept], "give --api-key-file"),
        (["serve", "--orientation", "XYZ", *kept], "no orientation"),
        (["serve", "--spacing", "1", *kept], "no voxel size"),
        (["serve", "--api-key-file", str(tmp_path / "none"), *kept], "cannot be read"),
        (["serve", "--socket", str(tmp_path / "s"), "--host", "127.0.0.1"], "not both"),
        (["serve", "--model", "nothing-there", *kept], "nothing-there"),
    ):
        assert main(words) == 2
        assert why in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_folder_that_others_enter_is_refused(tmp_path, capsys):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    assert main(["serve", "--records", str(tmp_path / "open")]) == 2
    assert "Others can enter" in capsys.readouterr().err


def test_a_missing_extra_is_one_sentence(monkeypatch, capsys):
    from sammed3d_nb.server import extra

    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "uvicorn" else object())
    for words in (["serve"], ["doctor", "--server", "http://127.0.0.1:1"]):
        assert main(words) == 2
        assert "pip install 'sammed3d-nb[slicer]'" in capsys.readouterr().err


def test_an_image_of_another_client_is_not_in_answers(server):
    session, _ = server.begun(image(seed=3))
    with session:
        told = httpx.get(server.url + "/healthz").text
        assert session._lease_token not in told
