"""machines, runs, audits, show, compare and the token, against a scripted coordinator."""

from __future__ import annotations

import grpc
import pytest
from detctl_proto.v1 import audits_pb2


def test_lists_as_json_and_as_tables(cli, served):
    served.fake.machines = [
        audits_pb2.MachineInfo(name="gpu1\x1b[31m", connected=True, recipes=["digits"], version="0.1.0")
    ]
    served.fake.audits = [
        audits_pb2.AuditInfo(audit_id="a1", recipe="digits", state="done", outcome="different", causes=["cpu-isa"])
    ]
    status = audits_pb2.RunStatus(
        run_id="a1.000", label="gpu1/default/base/twin-0", state="sealed", step=31, records=12345
    )
    served.fake.runs = [audits_pb2.RunInfo(status=status, recipe="digits", end="window")]
    where = ("--coordinator", served.address)
    machines, runs, audits = cli("machines", *where), cli("runs", *where), cli("audits", *where)
    assert (machines.code, runs.code, audits.code) == (0, 0, 0)
    assert "gpu1[31m" in machines.out and "\x1b" not in machines.out
    assert "gpu1/twin-0" in runs.out and "12,345" in runs.out
    assert "different" in audits.out and "cpu-isa" in audits.out
    assert cli("machines", "--json", *where).json["machines"][0]["recipes"] == ["digits"]
    assert cli("runs", "--json", *where).json["runs"][0]["id"] == "a1.000"
    assert cli("audits", "--json", *where).json["audits"][0]["outcome"] == "different"


def test_filters_and_limit_are_passed_on(cli, served):
    cli(
        "runs",
        "--audit",
        "a1",
        "--machine",
        "gpu1",
        "--recipe",
        "digits",
        "--limit",
        "7",
        "--coordinator",
        served.address,
    )
    request = served.fake.request("ListRuns")
    assert (request.audit_id, request.machine, request.recipe, request.limit) == ("a1", "gpu1", "digits", 7)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("r1", "r2"), audits_pb2.DeleteRequest(run_ids=["r1", "r2"])),
        (("--audit", "a1"), audits_pb2.DeleteRequest(audit_id="a1")),
        (("--older-than", "30d"), audits_pb2.DeleteRequest(older_than_s=30 * 86400)),
    ],
)
def test_runs_delete(cli, served, arguments, expected):
    ran = cli("runs", "delete", *arguments, "--coordinator", served.address)
    assert ran.code == 0
    assert served.fake.request("DeleteRuns") == expected
    assert ran.out.split() == (["r1", "r2"] if "r1" in arguments else ["r9"])


def test_show_prints_an_audits_verdict(cli, served):
    served.fake.shown = ("audit", {"audit_id": "a1", "verdict": served.fake.verdict, "note": "tab\there"})
    ran = cli("show", "a1", "--coordinator", served.address)
    assert ran.code == 0
    assert ran.out.startswith("DIFFERENT")
    assert "audit a1" in ran.out
    assert "audit_id  a1" in cli("show", "-v", "a1", "--coordinator", served.address).out
    document = cli("show", "a1", "--json", "--coordinator", served.address).json
    assert document["kind"] == "audit" and document["audit"]["audit_id"] == "a1"


def test_machines_without_shared_runs_are_3_and_unknown_ones_2(cli, served):
    served.fake.fail["Compare"] = (grpc.StatusCode.FAILED_PRECONDITION, "machines a and b share no finished runs")
    ran = cli("compare", "--machines", "a,b", "--coordinator", served.address)
    assert (ran.code, ran.out) == (3, "")
    assert "share no finished runs" in ran.err
    served.fake.fail["Compare"] = (grpc.StatusCode.NOT_FOUND, "no machine 'a' is known here")
    assert cli("compare", "--machines", "a,b", "--coordinator", served.address).code == 2


def test_runs_of_an_audit_that_goes_on_cannot_be_deleted(cli, served):
    served.fake.fail["DeleteRuns"] = (
        grpc.StatusCode.FAILED_PRECONDITION,
        "run r1 belongs to an audit that is not over",
    )
    assert cli("runs", "delete", "r1", "--coordinator", served.address).code == 2


def test_compare_requests(cli, served):
    cli("compare", "--machines", "a,b", "--recipe", "digits", "--coordinator", served.address)
    request = served.fake.request("Compare")
    assert (list(request.machines), request.recipe) == (["a", "b"], "digits")
    cli("compare", "--audit", "a1", "--coordinator", served.address)
    assert served.fake.request("Compare").audit_id == "a1"
    cli("compare", "r1", "r2", "r3", "--coordinator", served.address)
    assert list(served.fake.request("Compare").run_ids) == ["r1", "r2", "r3"]


@pytest.fixture
def tcp(served):
    """The fake on TCP, where a token is wanted."""
    served.stop()
    server = grpc.server(__import__("concurrent.futures").futures.ThreadPoolExecutor(2))
    from detctl_proto.v1 import audits_pb2_grpc

    audits_pb2_grpc.add_AuditsServicer_to_server(served.fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    served.fake.token = "right"
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_the_token_comes_from_flag_variable_and_default_place(cli, tcp, tmp_path):
    missing = cli("audits", "--coordinator", tcp)
    assert missing.code == 2
    default = tmp_path / "home/.local/state/detctl/token"
    assert f"token file {default} does not exist" in missing.err
    default.parent.mkdir(parents=True)
    default.write_text("wrong\n")
    assert f"{default} was refused" in cli("audits", "--coordinator", tcp).err
    right = tmp_path / "right"
    right.write_text("right\n")
    assert cli("audits", "--coordinator", tcp, "--token-file", str(right)).code == 0
    assert cli("audits", "--coordinator", tcp, DETCTL_TOKEN_FILE=str(right)).code == 0
    assert cli("--coordinator", tcp, "--token-file", str(right), "audits").code == 0
