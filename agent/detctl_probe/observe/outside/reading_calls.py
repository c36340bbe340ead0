"""Finds which calls and names of a source file read something outside the training. Pure."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

CLOCK, FOLDER, HOME, HOST, USER, PROCESS, ADDRESS = "clock", "folder", "home", "host", "user", "process", "address"
PROCESSORS, TEMPORARY, OUTPUT, ENTROPY, LOAD = "processors", "temporary", "output", "entropy", "load"

SOURCES: Dict[str, str] = {
    "time.time": CLOCK, "time.time_ns": CLOCK, "time.monotonic": CLOCK, "time.monotonic_ns": CLOCK,
    "time.perf_counter": CLOCK, "time.perf_counter_ns": CLOCK, "time.process_time": CLOCK, "time.localtime": CLOCK,
    "time.gmtime": CLOCK, "time.ctime": CLOCK, "time.strftime": CLOCK, "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK, "datetime.datetime.today": CLOCK, "datetime.date.today": CLOCK,
    "pandas.Timestamp.now": CLOCK, "pandas.Timestamp.today": CLOCK, "timeit.default_timer": CLOCK,
    "os.getcwd": FOLDER, "pathlib.Path.cwd": FOLDER, "os.path.abspath": FOLDER, "os.path.realpath": FOLDER,
    "os.path.expanduser": HOME, "pathlib.Path.home": HOME,
    "socket.gethostname": HOST, "socket.getfqdn": HOST, "platform.node": HOST, "os.uname": HOST, "platform.uname": HOST,
    "uuid.getnode": HOST, "os.cpu_count": PROCESSORS, "multiprocessing.cpu_count": PROCESSORS, "os.sched_getaffinity": PROCESSORS,
    "tempfile.mkdtemp": TEMPORARY, "tempfile.mkstemp": TEMPORARY, "tempfile.mktemp": TEMPORARY,
    "tempfile.TemporaryDirectory": TEMPORARY, "tempfile.NamedTemporaryFile": TEMPORARY,
    "getpass.getuser": USER, "os.getuid": USER, "os.getlogin": USER,
    "os.getpid": PROCESS, "os.getppid": PROCESS, "threading.get_ident": PROCESS, "threading.get_native_id": PROCESS,
    "id": ADDRESS, "subprocess.check_output": OUTPUT, "subprocess.run": OUTPUT, "subprocess.getoutput": OUTPUT,
    "subprocess.Popen": OUTPUT, "os.popen": OUTPUT, "os.urandom": ENTROPY, "os.getrandom": ENTROPY, "uuid.uuid1": ENTROPY,
    "uuid.uuid4": ENTROPY, "secrets.randbelow": ENTROPY, "secrets.randbits": ENTROPY, "secrets.choice": ENTROPY,
    "secrets.token_bytes": ENTROPY, "secrets.token_hex": ENTROPY, "psutil.virtual_memory": LOAD, "psutil.cpu_percent": LOAD,
    "psutil.getloadavg": LOAD, "os.getloadavg": LOAD, "shutil.disk_usage": LOAD, "psutil.disk_usage": LOAD,
    "torch.cuda.mem_get_info": LOAD, "resource.getrusage": LOAD, "psutil.cpu_count": PROCESSORS,
    "threading.Timer": CLOCK, "signal.signal": CLOCK,
}  # fmt: skip
# Variables that name the user, the host or the folder of the process.
VARIABLES = {"HOME": HOME, "USER": USER, "LOGNAME": USER, "HOSTNAME": HOST, "PWD": FOLDER, "HOST": HOST}
PATHS = (FOLDER, HOME, TEMPORARY)
METHODS = {"resolve": FOLDER, "absolute": FOLDER, "expanduser": HOME}  # of a pathlib.Path


class Reading(NamedTuple):
    """An expression whose value comes from outside: `call` is how it is written, `source` what it reads."""

    node: Any
    call: str
    source: str


def reading_at(node: Any, dotted: Callable[[Any], str]) -> Optional[Reading]:
    """The reading that a node of a syntax tree is; None: it is none. dotted: the full name of a chain of names."""
    kind = type(node).__name__
    call, source = "", ""
    if kind == "Call":
        call, source = _called(node, dotted(node.func))
    elif kind == "keyword" and node.arg == "default_factory":
        call, node = dotted(node.value), node.value
        source = SOURCES.get(call, "")
    elif kind == "Subscript" and dotted(node.value) == "os.environ":
        name = getattr(getattr(node.slice, "value", None), "value", getattr(node.slice, "value", None))
        call, source = "os.environ[%r]" % name, VARIABLES.get(name, "") if isinstance(name, str) else ""
    elif kind == "Name" and node.id == "__file__":
        call, source = "__file__", FOLDER
    return Reading(node, call, source) if source else None


def _called(node: Any, call: str) -> Tuple[str, str]:
    source = SOURCES.get(call, "")
    if call == "signal.signal" and not (node.args and getattr(node.args[0], "attr", "") == "SIGALRM"):
        source = ""
    if call in ("time.localtime", "time.gmtime", "time.ctime") and node.args:
        source = ""
    if call == "time.strftime" and len(node.args) > 1:
        source = ""
    if call in ("os.environ.get", "os.getenv") and node.args:
        name = getattr(node.args[0], "value", None)
        call, source = "%s(%r)" % (call, name), VARIABLES.get(name, "") if isinstance(name, str) else ""
    if not source and type(node.func).__name__ == "Attribute" and not node.args:
        source = METHODS.get(node.func.attr, "")
        call = "Path.%s" % node.func.attr
    return call, source
