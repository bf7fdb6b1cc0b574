"""The commands as users of `fastapi` and `uvicorn` expect them: apps that are found, --env-file, variables, openapi."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, Run, catzilla, fetch, real_sidecar, until

from catzilla._discover import find_target
from catzilla._env_file import read_env_file
from catzilla._exceptions import AppLoadError, ConfigurationError
from catzilla._load import find_app

SITE = "from fastapi import FastAPI\n{name} = FastAPI(title='{name}')\n"
ENVIRONMENT = """
import os
from fastapi import FastAPI
app = FastAPI()
AT_IMPORT = {name: os.environ.get(name) for name in ("GREETING", "HOME_TOWN", "TAKEN")}

@app.get("/")
async def root():
    return AT_IMPORT | {"pid": os.getpid()}
"""

# The app that is meant...


@pytest.mark.parametrize("file", ["main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py"])
@pytest.mark.parametrize("package", [False, True])
def test_an_app_that_is_not_named_is_found(tmp_path: Path, file: str, package: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(SITE.format(name="site"))
    if package:
        (path.parent / "__init__.py").touch()
    result = catzilla("openapi", cwd=tmp_path)
    assert json.loads(result.stdout)["info"]["title"] == "site", result.stderr


def test_the_first_of_several_files_is_taken(tmp_path: Path) -> None:
    for file in ("api.py", "app.py"):
        (tmp_path / file).touch()
    assert find_target(None, str(tmp_path)).target == str(tmp_path / "app.py")
    (tmp_path / "pyproject.toml").write_text('[tool.fastapi]\nentrypoint = "shop.web:site"\n')
    found = find_target(None, str(tmp_path))
    assert (found.target, found.how) == ("shop.web:site", "pyproject.toml says shop.web:site")
    (tmp_path / "pyproject.toml").write_text("[tool.fastapi]\nentrypoint = 5\n")
    with pytest.raises(ConfigurationError, match="entrypoint must be a text"):
        find_target(None, str(tmp_path))
    (tmp_path / "pyproject.toml").write_text("[tool\n")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        find_target(None, str(tmp_path))


def test_nothing_found_says_where_it_looked(tmp_path: Path) -> None:
    for verb in ("run", "dev", "routes", "openapi"):
        result = catzilla(verb, cwd=tmp_path)
        assert result.returncode == 2
        assert f"{tmp_path} has none of main.py, app.py, api.py, app/main.py" in result.stderr


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (SITE.format(name="app") + "site = api = FastAPI()\n", "app"),
        (SITE.format(name="site") + "api = FastAPI()\n", "api"),
        (SITE.format(name="site") + "other = FastAPI()\n", "site"),
        ("import os as app\n" + SITE.format(name="site"), "site"),
        ("from catzilla import FastAPI\nsite = FastAPI()\n", "site"),
        ("async def app(scope, receive, send): ...\n", "app"),
    ],
)
def test_a_file_without_a_name_has_its_app(
    tmp_path: Path, source: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "picked.py").write_text(source)
    assert find_app(str(tmp_path / "picked.py")).target == f"picked:{name}"


def test_a_file_without_an_app_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("x = 1\n")
    result = catzilla("openapi", cwd=tmp_path)
    assert result.returncode == 1
    assert "has no 'app'" in result.stderr


def test_a_file_of_a_package_imports_its_siblings(tmp_path: Path) -> None:
    (tmp_path / "shop" / "web").mkdir(parents=True)
    for folder in ("shop", "shop/web"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "shop" / "names.py").write_text("TITLE = 'deep'\n")
    (tmp_path / "shop" / "web" / "site.py").write_text(
        "from fastapi import FastAPI\nfrom ..names import TITLE\napi = FastAPI(title=TITLE)\n"
    )
    for target in ("shop/web/site.py", "shop/web/site.py:api"):
        assert json.loads(catzilla("openapi", target, cwd=tmp_path).stdout)["info"]["title"] == "deep"


def test_run_says_what_it_has_found(launch: Any, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP.replace("app", "shop"))
    run = launch("").ready()
    assert "no APP was given: found main.py" in run.text
    assert "serving main:shop on the sidecar with 1 worker; lanes: 5 fast, 0 stack, 0 slow" in run.text
    assert run.get("/").status == 200
    assert run.stop() == 0


def test_dev_reloads_and_says_what_is_not_compiled(launch: Any, tmp_path: Path) -> None:
    run = launch(APP, verb="dev").ready()
    (tmp_path / "app_under_test.py").write_text(
        APP.replace("VERSION = 1", "VERSION = 2") + "async def raw(request): ...\napp.add_route('/raw', raw)\n"
    )
    run.said("generation 2 has taken over: app_under_test:app, 1 worker; lanes: 5 fast, 0 stack, 1 slow")
    run.said("GET,HEAD /raw takes the slow lane: ")
    assert "/docs takes" not in run.text  # It is not the app's.
    assert json.loads(run.get("/").body)["version"] == 2
    assert run.stop() == 0
    assert catzilla("dev", "x", "--workers", "2").returncode == 2


# --env-file...


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("\ufeffA=1\n# B=2\n\n  export C = 3  \r\nD=", {"A": "1", "C": "3", "D": ""}),
        ("A=x # y\nB=x#y\nC=# z\nD='# w' # v", {"A": "x", "B": "x#y", "C": "", "D": "# w"}),
        (r"""A='it\'s \n' """ + "\n" + r'''B="a\tb\n\"c\" $D \q"''', {"A": r"it's \n", "B": 'a\tb\n"c" $D \\q'}),
        ('KEY="-----BEGIN\nabc=\n-----END"\nNEXT=1', {"KEY": "-----BEGIN\nabc=\n-----END", "NEXT": "1"}),
        ("URL=postgres://u:p@h/d?a=b&c='d'", {"URL": "postgres://u:p@h/d?a=b&c='d'"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=1\nB=ß", {"A": "1", "B": "ß"}),
    ],
)
def test_env_files_are_read_as_people_write_them(tmp_path: Path, text: str, found: dict[str, str]) -> None:
    (tmp_path / ".env").write_text(text, newline="")
    assert read_env_file(str(tmp_path / ".env")) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\n\nB\n", ":3: this is no NAME=VALUE"),
        ("1A=2\n", ":1: this is no NAME=VALUE"),
        ("A='x'\nB='y\n\n", ":2: the ' of B is never closed"),
        ('A="x" y\n', ':1: something follows the closing " of A'),
        ("A=1\nB=x\0y\n", ":2: B holds a zero byte"),
    ],
)
def test_a_mistake_in_an_env_file_has_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / ".env").write_text(text)
    with pytest.raises(AppLoadError) as caught:
        read_env_file(str(tmp_path / ".env"))
    assert str(caught.value) == f"{tmp_path}/.env{said}"


def test_an_env_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    result = catzilla("run", "--env-file", "none.env", "--sidecar", "sh", cwd=tmp_path)
    assert result.returncode == 1
    assert "--env-file none.env: No such file or directory" in result.stderr
    (tmp_path / "latin.env").write_bytes(b"A=\xe4\n")
    assert "it is not UTF-8" in catzilla("openapi", "--env-file", "latin.env", cwd=tmp_path).stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_env_file_is_read_before_the_app_and_after_each_reload(launch: Any, tmp_path: Path, workers: str) -> None:
    file = tmp_path / "settings"
    file.write_text("export GREETING='hello'  # to whom?\nTAKEN=by the file\n")
    run = launch(
        ENVIRONMENT, "--env-file", str(file), "--reload", "--workers", workers, env={"TAKEN": "before"}
    ).ready()
    answer = json.loads(run.get("/").body)
    assert (answer["GREETING"], answer["HOME_TOWN"], answer["TAKEN"]) == ("hello", None, "before")
    file.write_text("HOME_TOWN=Ulm\n")
    until(lambda: json.loads(run.get("/").body)["HOME_TOWN"] == "Ulm", "what the file says now counts")
    assert json.loads(run.get("/").body)["GREETING"] is None
    file.write_text("HOME_TOWN\n")
    run.said("settings:1: this is no NAME=VALUE")
    assert json.loads(run.get("/").body)["HOME_TOWN"] == "Ulm"  # What served before goes on.
    assert run.stop() == 0


# CATZILLA_*...


def test_every_option_has_its_variable() -> None:
    for verb in ("run", "dev"):
        text = " ".join(catzilla(verb, "--help", COLUMNS="200").stdout.split())
        options = re.findall(r"\[(--[a-z-]+)", text)
        assert len(options) > 20
        for option in options:
            assert f"[CATZILLA_{option.removeprefix('--').replace('-', '_').upper()}]" in text, option
        assert "[CATZILLA_APP]" in text


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CATZILLA_WORKERS", "many", "CATZILLA_WORKERS: 'many' is not a number from 1 to 256"),
        ("CATZILLA_LOOP", "curio", "CATZILLA_LOOP: 'curio' is none of auto, uvloop, asyncio"),
        ("CATZILLA_RELOAD", "maybe", "CATZILLA_RELOAD: 'maybe' is neither of 1, true, yes, on, 0"),
        ("CATZILLA_MAX_RSS", "12parsecs", "CATZILLA_MAX_RSS: '12parsecs' is no size"),
        ("CATZILLA_PORT", "tcp://10.0.0.7:80", "enableServiceLinks: false"),
    ],
)
def test_a_bad_variable_is_named(variable: str, value: str, said: str) -> None:
    result = catzilla("run", "x:app", **{variable: value})
    assert result.returncode == 2
    assert said in result.stderr


def test_variables_count_where_the_command_line_says_nothing(launch: Any, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    variables = {
        "CATZILLA_APP": "main:app",
        "CATZILLA_WORKERS": "2",
        "CATZILLA_NAME": "unheard",
        "CATZILLA_NO_PRELOAD": "yes",
        "CATZILLA_RELOAD": "0",
        "CATZILLA_LOOP": "",
        "CATZILLA_MAX_RSS": "1GiB",
        "CATZILLA_DRAIN_TIMEOUT": "nonsense",  # The command line wins, whatever it is.
    }
    run = launch("", "--name", "heard", "--drain-timeout", "20s", env=variables).ready()
    assert "serving main:app on the sidecar with 2 workers" in run.text
    assert '"app": "heard"' in run.record.read_text()
    assert "not preloaded" in run.record.read_text() or "--no-preload" in run.record.read_text()
    assert run.stop() == 0


def test_what_is_for_a_sidecar_of_ours_is_not_read_when_attached(launch: Any, tmp_path: Path) -> None:
    run = launch(APP, "--control", str(tmp_path / "none.sock"), "--attach", env={"CATZILLA_PORT": "tcp://10.0.0.7:80"})
    run.said("no sidecar answers at unix:")
    assert run.stop() == 0


# openapi...


def test_openapi_is_what_the_app_says(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print('noise')\n" + APP.replace("Catzilla()", "Catzilla(title='Läden')"))
    result = catzilla("openapi", "main:app", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert document["info"]["title"] == "Läden"
    assert set(document["paths"]) == {"/", "/slow", "/modules", "/print", "/cached"}
    assert result.stderr == "noise\n"
    assert catzilla("openapi", "-o", "api.json", cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "api.json").read_text(encoding="utf-8")) == document
    assert "No such file" in catzilla("openapi", "-o", "none/api.json", cwd=tmp_path).stderr


def test_an_app_without_openapi_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("async def app(scope, receive, send): ...\n")
    result = catzilla("openapi", cwd=tmp_path)
    assert result.returncode == 1
    assert "has no OpenAPI document" in result.stderr


# With the real sidecar...

needs_sidecar = pytest.mark.skipif(real_sidecar() is None, reason="no catzilla-sidecar in CATZILLA_BIN_DIR")
CROWDED = """
import asyncio
from catzilla import Catzilla
app = Catzilla()
inside = most = 0

@app.get("/")
async def root():
    global inside, most
    inside += 1
    most = max(most, inside)
    await asyncio.sleep(0.05)
    inside -= 1
    return most
"""


@needs_sidecar
@pytest.mark.parametrize("lanes", ["on", "off"])
def test_concurrency_is_what_a_worker_has_at_once(real: Any, lanes: str) -> None:
    run = real(CROWDED, "--concurrency", "3", "--lanes", lanes).ready()
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(run.get("/"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 12  # Those that wait are not refused.
    assert max(int(answer.body) for answer in answers) == 3
    assert run.stop() == 0


@needs_sidecar
def test_the_start_line_has_what_people_look_for(real: Any) -> None:
    run: Run = real(APP + "@app.get('/raw', include_in_schema=False)\ndef raw(): ...\n").ready()
    [line] = [line for line in run.text.splitlines() if "serving " in line]
    address = f"http://127.0.0.1:{run.port}"
    assert line.startswith(
        f"INFO: serving app_under_test:app on {address} with 1 worker; lanes: 6 fast, 0 stack, 0 slow; "
        f"docs on {address}/docs; metrics and health on http://127.0.0.1:{run.ops_port}"
    )
    assert fetch(run.port, "/docs").status == 200
    assert run.stop() == 0
    assert os.environ.get("CATZILLA_WORKER") is None


@needs_sidecar
def test_an_app_without_docs_names_none(real: Any) -> None:
    run: Run = real(APP.replace("Catzilla()", "Catzilla(docs_url=None)")).ready()
    assert "docs on" not in run.text
    assert run.stop() == 0
