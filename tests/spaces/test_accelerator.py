import sys
import types

import pytest
from cmr_space.accelerator import lent_gpu


def test_when_only_the_apps_own_folder_is_called_spaces_then_nothing_is_decorated(monkeypatch, repo_root):
    monkeypatch.syspath_prepend(str(repo_root))
    monkeypatch.delitem(sys.modules, "spaces", raising=False)

    def work() -> int:
        return 3

    assert lent_gpu()(work) is work


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "__init__.py").write_text(
        "def GPU(duration):\n    def decorate(function):\n        function.lent_s = duration\n        return function\n"
        "    return decorate\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "spaces", raising=False)
    yield
    sys.modules.pop("spaces", None)


def test_when_the_hosts_package_is_installed_then_the_function_is_decorated(package):
    assert lent_gpu(45)(types.FunctionType((lambda: 1).__code__, {})).lent_s == 45
