import os
import time

import pytest
from cmr_space.sessions import Sessions, remove_orphans


@pytest.fixture
def sessions(tmp_path):
    made = Sessions(tmp_path)
    yield made
    made.close()


def test_when_a_page_is_closed_then_only_its_own_files_go(sessions):
    mine, other = sessions.open("page 1"), sessions.open("page 2")
    (sessions.folders(mine)[0] / "00001.dcm").write_bytes(b"x")
    sessions.end_page("page 1")
    assert sessions.folders(other)[0].is_dir()
    assert not list(sessions.root.rglob(f"*{mine}*"))
    with pytest.raises(KeyError, match="hand them in again"):
        sessions.folders(mine)


def test_when_a_page_is_closed_while_results_are_written_then_they_go_too(sessions):
    token = sessions.open("page 1")
    sessions.end_page("page 1")
    late = sessions.shown / token / "out" / "report.html"
    late.parent.mkdir(parents=True)
    late.write_text("late")
    sessions.settle(token)
    assert not (sessions.shown / token).exists()


def test_when_one_file_is_kept_to_be_fetched_then_all_else_goes(sessions):
    token = sessions.open()
    private, shown = sessions.folders(token)
    (private / "image.npz").write_bytes(b"x")
    (shown / "out").mkdir()
    for name in ("out/report.html", "all.zip", "other.zip"):
        (shown / name).write_text(name)
    sessions.keep_only(token, "all.zip")
    assert not private.exists()
    assert [one.name for one in shown.iterdir()] == ["all.zip"]


@pytest.mark.parametrize("token", ["", "..", "../../etc", "a" * 32 + "/..", "A" * 32, None])
def test_when_a_token_is_made_up_then_it_opens_and_deletes_nothing(sessions, token):
    with pytest.raises(KeyError):
        sessions.folders(token)
    sessions.end(token)
    assert sessions.private.is_dir()
    assert sessions.shown.is_dir()


def test_when_nobody_uses_files_for_an_hour_then_they_go_and_the_example_stays(sessions):
    old, used = sessions.open(), sessions.open()
    upload = sessions.shown / "a1b2" / "name.dcm"
    upload.parent.mkdir()
    upload.write_bytes(b"x")
    past = time.time() - sessions.lifetime_s - 5
    for folder in (sessions.private / old, sessions.shown / old, upload.parent, sessions.kept):
        os.utime(folder, (past, past))
    assert sessions.sweep() == 3
    assert not upload.exists()
    assert sessions.kept.is_dir()
    assert sessions.folders(used)


def test_when_an_upload_is_discarded_then_nothing_outside_can_be(sessions, tmp_path):
    upload, own = sessions.shown / "hash" / "study.zip", tmp_path / "own.txt"
    upload.parent.mkdir()
    upload.write_bytes(b"x")
    own.write_text("mine")
    sessions.discard(upload)
    sessions.discard(own)
    assert not upload.parent.exists()
    assert own.exists()


def test_when_a_process_was_killed_then_the_next_start_removes_its_files(tmp_path, sessions):
    dead = tmp_path / "cmr_hf_space_999999999_abc"
    dead.mkdir()
    (dead / "image.npz").write_bytes(b"x")
    assert remove_orphans(tmp_path) == [dead]
    assert sessions.root.is_dir()


def test_folders_are_the_users_own(sessions):
    assert sessions.root.stat().st_mode & 0o077 == 0
