"""What the image is made of, what is known against it, and how it is released."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from packaging.requirements import Requirement

from tools.supply_chain.audit import NotAskedError, audit_go, audit_python
from tools.supply_chain.pinned import (
    ROOT,
    get_version,
    is_for_linux,
    list_go_files,
    list_lock_files,
    read_go_modules,
    read_lock_file,
)
from tools.supply_chain.release_notes import ReleaseError, find_notes
from tools.supply_chain.sbom import build_sbom

RUNTIME = ROOT / "requirements" / "runtime.txt"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# The SBOM


@pytest.fixture(scope="module")
def sbom():
    return json.loads(build_sbom([RUNTIME], 1_700_000_000))


def test_the_sbom_has_each_package_of_the_image_and_no_other(sbom):
    pinned = {f"pkg:pypi/{one.name}@{get_version(one)}" for one in read_lock_file(RUNTIME) if is_for_linux(one)}

    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert {one["purl"] for one in sbom["components"]} == pinned
    assert all(one["licenses"] for one in sbom["components"])
    assert sbom["metadata"]["component"]["name"] == "maskinporten-operator"


def test_what_only_other_platforms_need_is_not_in_the_image():
    assert not is_for_linux(Requirement("colorama==0.4.6 ; sys_platform == 'win32'"))
    assert is_for_linux(Requirement("uvloop==0.22.1 ; sys_platform != 'win32'"))


def test_everything_in_the_sbom_is_there_because_something_needs_it(sbom):
    needs = {one["ref"]: one.get("dependsOn", []) for one in sbom["dependencies"]}
    reached, todo = set(), ["maskinporten-operator"]
    while todo:
        todo += needs[one] if (one := todo.pop()) not in reached and not reached.add(one) else []

    assert reached == needs.keys() == {one["bom-ref"] for one in sbom["components"]} | {"maskinporten-operator"}


def test_the_sbom_is_the_same_for_the_same_lock_file_and_tells_of_its_instant(sbom):
    assert json.loads(build_sbom([RUNTIME], 1_700_000_000)) == sbom
    assert sbom["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert build_sbom([RUNTIME], 1_700_000_001) != build_sbom([RUNTIME], 1_700_000_000)


def test_an_image_with_a_signer_has_that_one_too():
    purls = {
        one["purl"] for one in json.loads(build_sbom([RUNTIME, ROOT / "requirements" / "aws.txt"], 0))["components"]
    }

    assert any(one.startswith("pkg:pypi/boto3@") for one in purls)


# The audit


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV's published API does: of one package a vulnerability is known."""

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("batch"):
            body = {"results": [_look_up(one, in_full=False) for one in query["queries"]]}
        else:
            body = _look_up(query, in_full=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


def _look_up(query, *, in_full):
    package, version = query["package"], query["version"]
    if (package["name"], version) not in {("some-package", "1.0"), ("example.org/module", "1.2.3")}:
        return {}
    short = {"id": "GHSA-aaaa-bbbb-cccc", "modified": "2026-01-01T00:00:00Z"}
    events = [{"introduced": "0"}, {"fixed": "1.1"}]
    affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}], "versions": [version]}]
    in_detail = {"schema_version": "1.6.0", "aliases": ["CVE-2026-0001"], "summary": "It is bad", "affected": affected}
    return {"vulns": [short | in_detail if in_full else short]}


@pytest.fixture(scope="module")
def osv():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Whoever runs the tests may go out by one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def lock_file(tmp_path):
    def lock_file(name, *pinned):
        path = tmp_path / name
        path.write_text("".join(f"{one} \\\n    --hash=sha256:{'0' * 64}\n" for one in pinned))
        return path

    return lock_file


def test_a_known_vulnerability_is_told_with_what_fixes_it_and_what_locks_it(osv, lock_file):
    files = [lock_file("a.txt", "some-package==1.0", "other==2.0"), lock_file("b.txt", "some-package==1.0")]

    assert [str(one) for one in audit_python(files, osv)] == [
        "some-package 1.0: CVE-2026-0001, fixed in 1.1 (a.txt, b.txt)"
    ]


def test_each_version_that_is_locked_is_asked_about(osv, lock_file):
    files = [lock_file("a.txt", "some-package==2.0"), lock_file("b.txt", "some-package==1.0")]

    assert [one.places for one in audit_python(files, osv)] == [("b.txt",)]


def test_go_modules_are_asked_about_all_at_once(osv, tmp_path):
    path = tmp_path / "go.mod"
    path.write_text(
        "module x\n\ngo 1.26.0\n\nrequire (\n\texample.org/module v1.2.3\n\texample.org/other v0.1.0 // indirect\n)\n"
    )

    assert [str(one) for one in audit_go([path], osv)] == ["example.org/module 1.2.3: GHSA-aaaa-bbbb-cccc (go.mod)"]


def test_without_an_answer_nothing_is_known(lock_file, tmp_path):
    nowhere = "http://127.0.0.1:1/v1/query"

    with pytest.raises(NotAskedError, match="couldn't be asked about Python packages"):
        audit_python([lock_file("a.txt", "some-package==1.0")], nowhere)
    with pytest.raises(NotAskedError, match="couldn't be asked about Go modules"):
        audit_go([ROOT / "tools" / "helm3" / "go.mod"], nowhere)


def test_the_audit_of_all_that_is_locked_says_what_it_knows_by_its_exit_code(osv, monkeypatch):
    def run(url):
        command = [sys.executable, "-m", "tools.supply_chain.audit"]
        environment = {"OSV_URL": url, "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    fine, offline = run(osv), run("http://127.0.0.1:1/v1/query")

    assert (fine.returncode, fine.stdout) == (0, "0 known vulnerabilities\n")
    assert (offline.returncode, offline.stdout) == (3, "")
    assert "Not all could be looked at, which takes a network that reaches OSV" in offline.stderr


def test_every_lock_file_is_looked_at():
    named = {str(path.relative_to(ROOT)) for path in list_lock_files()}

    assert {"requirements/runtime.txt", "requirements/dev.txt", "tools/node/workload/requirements.txt"} <= named
    assert all(read_lock_file(path) for path in list_lock_files())
    for path in list_go_files():
        required = re.findall(r"^\t?(?:require )?\S+ v\d\S*", path.read_text(), re.MULTILINE)
        assert len(read_go_modules(path)) >= len(required)


# The release


@pytest.fixture
def release(tmp_path):
    chart = tmp_path / "deploy" / "chart"
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text("version: 1.2.0\nappVersion: 1.2.0\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    log = "## [Unreleased]\n\n- Later\n\n## [1.2.0] - 2026-11-27\n\n### Added\n\n- New\n\n## [1.1.0]\n\n- Old\n"
    (tmp_path / "CHANGELOG.md").write_text(log)
    return tmp_path


def test_the_notes_of_a_release_are_its_section_of_the_change_log(release):
    assert find_notes("v1.2.0", release) == "### Added\n\n- New\n"


@pytest.mark.parametrize(
    ("tag", "log", "message"),
    [
        ("v1.2.1", None, "pyproject.toml has 1.2.0, version in deploy/chart/Chart.yaml has 1.2.0"),
        ("1.2.0", None, "1.2.0 must be v and the version"),
        ("v1.2.0", "## [Unreleased]\n\n- New\n", r"CHANGELOG.md says nothing of \[1.2.0\]"),
        ("v1.2.0", "## [1.2.0]\n\n## [1.1.0]\n\n- Old\n", r"CHANGELOG.md says nothing of \[1.2.0\]"),
    ],
)
def test_a_release_without_its_version_everywhere_is_refused(release, tag, log, message):
    if log:
        (release / "CHANGELOG.md").write_text(log)

    with pytest.raises(ReleaseError, match=message):
        find_notes(tag, release)


# The workflows


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_of_make_alone_with_no_right_that_it_does_not_name(path):
    workflow = yaml.safe_load(path.read_text())
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]["contents"] in {"read", "write"}
        assert job["timeout-minutes"]
        for step in job["steps"]:
            if "run" in step:
                assert step["run"].split()[0] == "make"
                assert set(step["run"].split()[1:]) <= targets
            else:
                assert re.fullmatch(r"[\w-]+/[\w.-]+@[0-9a-f]{40}", step["uses"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_text_of_an_event_gets_into_a_shell(path):
    assert [one for one in re.findall(r"run: .*", path.read_text()) if "${{" in one] == []
