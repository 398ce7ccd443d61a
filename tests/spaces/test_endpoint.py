"""The running Space from a program: the documented call, wrong files, several users at once, nothing kept."""

import json
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.spaces.served import sample_files

gradio_client = pytest.importorskip("gradio_client", reason="pip install 'cmr_hf[space]'")


@pytest.fixture
def client(space):
    made = gradio_client.Client(space[0], verbose=False)
    yield made
    made.close()


@pytest.mark.parametrize("page", ["README.md", "spaces/README.md"])
def test_when_the_documented_call_is_run_then_it_works(space, small_zip, tmp_path, monkeypatch, repo_root, page):
    blocks = re.findall(r"^```py\n(.*?)^```", (repo_root / page).read_text(encoding="utf-8"), re.M | re.S)
    (block,) = [one for one in blocks if 'api_name="/assess"' in one]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.zip").write_bytes(small_zip.read_bytes())
    names: dict = {}
    exec(block.replace("http://127.0.0.1:7860", space[0]), names)
    names["client"].close()
    assert 50 < names["assessment"]["measures"]["lv_edv"]["value"] < 250
    assert names["assessment"]["notice"].startswith("Research use only")
    with zipfile.ZipFile(names["archive"]) as archive:
        assert {"report.html", "assessment.json"} <= set(archive.namelist())


def test_when_a_wrong_file_is_sent_then_the_error_names_the_remedy(client, tmp_path):
    wrong = tmp_path / "Mustermann.txt"
    wrong.write_text("hello")
    with pytest.raises(Exception, match="This page takes a DICOM study") as caught:
        client.predict([gradio_client.handle_file(wrong)], api_name="/assess")
    assert "Mustermann" not in str(caught.value)


def test_only_one_endpoint_is_public(client):
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/assess"}


def test_when_users_come_at_once_then_each_gets_its_own_result(space, tmp_path):
    def ask(slices: str) -> tuple[str, list[int]]:
        made = gradio_client.Client(space[0], verbose=False, download_files=str(tmp_path / slices))
        files = [gradio_client.handle_file(file) for file in sample_files(slices, ("11",))]
        assessment, _ = made.predict(files, api_name="/assess")
        made.close()
        return slices, assessment["stacks"][0]["shape"]

    asked = ["1", "12", "123", "12"]  # the same bytes twice: neither may delete the other's
    with ThreadPoolExecutor(4) as pool:
        for slices, shape in pool.map(ask, asked):
            assert shape[:2] == [1, len(slices)]


def test_when_a_file_is_asked_for_outside_the_session_then_it_is_refused(space):
    import urllib.error
    import urllib.request

    address, folder = space
    private = folder / "private"
    (private / "probe").mkdir(exist_ok=True)
    (private / "probe" / "00001.dcm").write_bytes(b"x")
    wrong = ["/etc/passwd", private / "probe" / "00001.dcm", f"{folder}/shown/../private/probe/00001.dcm"]
    for path in [*wrong, Path("app.py").resolve()]:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/gradio_api/file={path}", timeout=10)


def test_when_uploads_were_assessed_then_none_of_them_is_kept_as_it_came(space, client, small_zip):
    made, _ = client.predict([gradio_client.handle_file(small_zip)], api_name="/assess")
    assert "ustermann" not in json.dumps(made)
    kept = [file.name for file in space[1].rglob("*") if file.is_file()]
    assert not [name for name in kept if "Mustermann" in name]
