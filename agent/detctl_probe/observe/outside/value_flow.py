"""Finds the lines of a source file that read something outside the training, and what they do with the value. Pure.

A stopwatch reads the clock too. A read matters if its value seeds, hashes, indexes, decides or enters a loss. The value is followed through
names, attributes, functions and returns of the user's files. What leaves them is lost, so `use` is evidence if it is set, and nothing if it
is empty.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Set, Tuple

from detctl_probe.process.source_trees import dotted, imported_names, resolved, syntax

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
}  # fmt: skip
# Variables that name the user, the host or the folder of the process.
VARIABLES = {"HOME": HOME, "USER": USER, "LOGNAME": USER, "HOSTNAME": HOST, "PWD": FOLDER, "HOST": HOST}
_PATHS = (FOLDER, HOME, TEMPORARY)
_METHODS = {"resolve": FOLDER, "absolute": FOLDER, "expanduser": HOME}  # of a pathlib.Path
VALUE, CONTROL = "value", "control"

_SEEDING = frozenset(
    "seed manual_seed manual_seed_all default_rng RandomState Random SeedSequence set_seed seed_everything".split()
)
_QUIET = frozenset(
    """print debug info warning warn error exception critical log log_dict log_metrics add_scalar add_scalars append write writelines
    writerow dump dumps update set_postfix set_description set_postfix_str sleep makedirs mkdir record step_end emit inc observe
    flush isoformat strftime total_seconds""".split()
)
# Calls through which a path remains a path, or becomes a number that depends on it. Others read what lies there.
_PATH_KEEPERS = frozenset(
    """str repr int hash len sorted list tuple bytes float sum ord divmod from_bytes join dirname basename abspath realpath normpath
    split splitext fspath fsencode expanduser Path PurePath resolve absolute encode decode hexdigest digest md5 sha1 sha256 sha512 blake2b
    blake2s crc32 adler32 xxh64 lower upper replace format strip rstrip lstrip startswith endswith with_suffix joinpath as_posix update
    enumerate zip rsplit partition rpartition with_name relative_to count index map filter reversed set min max abs mod get""".split()
)
_LOOKS_THERE = frozenset(("exists", "isfile", "isdir", "is_file", "is_dir", "glob", "listdir"))
_HYPERPARAMETERS = frozenset(("lr", "weight_decay", "momentum", "betas", "eps", "alpha", "initial_lr", "temperature"))
_SIZES = frozenset(("batch_size", "num_samples", "n_splits", "n_folds", "max_steps", "num_shards"))
_BY_FUNCTION = frozenset(("LambdaLR", "MultiplicativeLR"))  # schedulers that call the user's function
_PASSES = 6
_FUNCTIONS = ("FunctionDef", "AsyncFunctionDef")

Taint = FrozenSet[int]  # numbers of reads
NONE: Taint = frozenset()
Key = Tuple[Any, ...]


class Read(NamedTuple):
    """One call (or use of `__file__`) that reads something outside. `use`: VALUE, CONTROL or empty; `used_in`, `used_at`: file and line."""

    line: int
    call: str
    source: str
    use: str
    used_in: str
    used_at: int


def reads(trees: Dict[str, Any]) -> Dict[str, List[Read]]:
    """Returns the reads of each source file, in the order of their lines. trees: the syntax tree of each file."""
    try:
        return _Flow(trees).run()
    except RecursionError:
        return {}


class _Flow:
    def __init__(self, trees: Dict[str, Any]) -> None:
        self.ast, self.trees = syntax(), trees
        self.names = {file: imported_names(tree) for file, tree in trees.items()}
        self.file: Dict[int, str] = {}  # id of a node -> its file
        self.scope: Dict[int, int] = {}  # id of a node -> id of the function that holds it, else of the module
        self.functions: Dict[str, Any] = {}
        self.nodes: List[Any] = []
        self.returns: Dict[int, List[Any]] = {}  # by the id of their function
        self.fields: Set[int] = set()  # ids of the annotated assignments in class bodies
        self.found: List[Tuple[str, int, str, str]] = []  # file, line, call, source
        self.number: Dict[int, int] = {}  # id of a node -> number of the read that it is
        self.taint: Dict[Key, Set[int]] = {}
        self.uses: Dict[int, Tuple[str, str, int]] = {}

    def run(self) -> Dict[str, List[Read]]:
        for file, tree in self.trees.items():
            self._survey(tree, id(tree), file)
        for node in self.nodes:
            self._find(node)
        if self.found:
            for _ in range(_PASSES):
                before = sum(map(len, self.taint.values()))
                for node in self.nodes:
                    self._carry(node)
                if sum(map(len, self.taint.values())) == before:
                    break
            for node in self.nodes:
                self._sink(node)
        rows: Dict[str, List[Read]] = {file: [] for file in self.trees}
        for number, (file, line, call, source) in enumerate(self.found):
            rows[file].append(Read(line, call, source, *self.uses.get(number, ("", "", 0))))
        return {file: sorted(found) for file, found in rows.items()}

    # -- names ---------------------------------------------------------------------------------------------------------
    def _survey(self, node: Any, scope: int, file: str) -> None:
        kind = type(node).__name__
        self.scope[id(node)] = scope
        self.file[id(node)] = file
        self.nodes.append(node)
        if kind in _FUNCTIONS:
            self.functions[node.name] = node
        elif kind in ("Return", "Yield"):
            self.returns.setdefault(scope, []).append(node)
        elif kind == "ClassDef":
            self.fields.update(id(child) for child in node.body if type(child).__name__ == "AnnAssign")
        inner = id(node) if kind in _FUNCTIONS or kind == "Lambda" else scope
        for child in self.ast.iter_child_nodes(node):
            self._survey(child, inner, file)

    def dotted(self, node: Any) -> str:
        """`time.time` for `t.time` after `import time as t`; empty for anything but a chain of names."""
        return resolved(dotted(node), self.names.get(self.file.get(id(node), ""), {}))

    def _find(self, node: Any) -> None:
        kind = type(node).__name__
        call, source = "", ""
        if kind == "Call":
            call = self.dotted(node.func)
            source = SOURCES.get(call, "")
            if call in ("time.localtime", "time.gmtime", "time.ctime") and node.args:
                source = ""
            if call == "time.strftime" and len(node.args) > 1:
                source = ""
            if call in ("os.environ.get", "os.getenv") and node.args:
                name = getattr(node.args[0], "value", None)
                call, source = "%s(%r)" % (call, name), VARIABLES.get(name, "") if isinstance(name, str) else ""
            if not source and type(node.func).__name__ == "Attribute" and not node.args:
                source = _METHODS.get(node.func.attr, "")
                call = "Path.%s" % node.func.attr
        elif kind == "keyword" and node.arg == "key" and getattr(node.value, "id", "") == "id":
            file, line = self.file[id(node)], node.value.lineno
            self.uses[len(self.found)] = (VALUE, file, line)
            self.found.append((file, line, "id", ADDRESS))
        elif kind == "keyword" and node.arg == "default_factory":
            call, node = self.dotted(node.value), node.value
            source = SOURCES.get(call, "")
        elif kind == "Subscript" and self.dotted(node.value) == "os.environ":
            name = getattr(getattr(node.slice, "value", None), "value", getattr(node.slice, "value", None))
            call, source = "os.environ[%r]" % name, VARIABLES.get(name, "") if isinstance(name, str) else ""
        elif kind == "Name" and node.id == "__file__":
            call, source = "__file__", FOLDER
        if source:
            self.number[id(node)] = len(self.found)
            self.found.append((self.file[id(node)], node.lineno, call, source))

    # -- where values go -----------------------------------------------------------------------------------------------
    def of(self, node: Any) -> Taint:
        """The reads that an expression's value may depend on."""
        if node is None:
            return NONE
        kind = type(node).__name__
        own = frozenset((self.number[id(node)],)) if id(node) in self.number else NONE
        if kind == "Name":
            module = id(self.trees[self.file[id(node)]])
            return own | self._get(("name", self.scope[id(node)], node.id)) | self._get(("name", module, node.id))
        if kind == "Attribute":
            return own | self.of(node.value) | self._get(("attribute", node.attr))
        if kind == "Call":
            return own | self._of_call(node)
        if kind in ("Lambda", "Constant"):
            return own
        parts = (self.of(child) for child in self.ast.iter_child_nodes(node))
        return own.union(*parts)

    def _of_call(self, node: Any) -> Taint:
        name = _last_name(node.func)
        given = NONE.union(*(self.of(value) for value in _arguments(node)))
        if type(node.func).__name__ == "Attribute":
            given |= self.of(node.func.value)
        function = self.functions.get(name)
        returned = self._get(("return", name))
        if function is not None:
            return returned
        if name in _QUIET and name not in _PATH_KEEPERS:
            return given if name in ("isoformat", "strftime", "total_seconds") else NONE
        if name in _LOOKS_THERE:
            return frozenset(
                n for n in given if self.found[n][3] == HOME
            )  # whether a file is there differs with the home folder
        if name not in _PATH_KEEPERS:
            given = frozenset(n for n in given if self.found[n][3] not in _PATHS)
        return given | returned

    def _get(self, key: Key) -> Taint:
        return frozenset(self.taint.get(key, ()))

    def _put(self, target: Any, taint: Taint) -> None:
        if not taint:
            return
        kind = type(target).__name__
        if kind == "Name":
            self.taint.setdefault(("name", self.scope[id(target)], target.id), set()).update(taint)
        elif kind == "Attribute":
            self.taint.setdefault(("attribute", target.attr), set()).update(taint)
        elif kind in ("Tuple", "List"):
            for one in target.elts:
                self._put(one, taint)
        elif kind == "Starred":
            self._put(target.value, taint)

    def _carry(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Assign":
            for target in node.targets:
                self._assign(target, node.value)
        elif kind in ("AnnAssign", "AugAssign", "NamedExpr"):
            self._put(node.target, taint := self.of(node.value))
            if id(node) in self.fields and taint and type(node.target).__name__ == "Name":
                self.taint.setdefault(("attribute", node.target.id), set()).update(taint)
        elif kind in ("For", "AsyncFor", "comprehension"):
            self._put(node.target, self.of(node.iter))
        elif kind in _FUNCTIONS:
            self._returns(node)
        elif kind == "Call":
            self._parameters(node)
            name = _last_name(node.func)
            if name in ("append", "add", "extend", "update") and type(node.func).__name__ == "Attribute":
                if name == "update" or self._chooses(node.args):
                    self._put(node.func.value, NONE.union(*(self.of(value) for value in node.args)))

    def _chooses(self, values: List[Any]) -> bool:
        """Whether appended values are hashes or paths, and not times for a log."""
        return any(self.found[n][3] != CLOCK for value in values for n in self.of(value))

    def _assign(self, target: Any, value: Any) -> None:
        if type(target).__name__ in ("Tuple", "List"):
            if type(value).__name__ in ("Tuple", "List") and len(value.elts) == len(target.elts):
                for one, own in zip(target.elts, value.elts):  # noqa: B905 - Python 3.9
                    self._put(one, self.of(own))
                return
            name = _last_name(value.func) if type(value).__name__ == "Call" else ""
            if name in self.functions:
                for at, one in enumerate(target.elts):
                    self._put(one, self._get(("return", name, at)))
                if not any(("return", name, at) in self.taint for at in range(len(target.elts))):
                    self._put(target, self._get(("return", name)))
                return
        self._put(target, self.of(value))

    def _returns(self, function: Any) -> None:
        for node in self.returns.get(id(function), ()):
            if type(node.value).__name__ == "Tuple":
                for at, one in enumerate(node.value.elts):
                    if taint := self.of(one):
                        self.taint.setdefault(("return", function.name, at), set()).update(taint)
            elif taint := self.of(node.value):
                self.taint.setdefault(("return", function.name), set()).update(taint)

    def _parameters(self, call: Any) -> None:
        function = self.functions.get(_last_name(call.func))
        if function is None:
            return
        names = [argument.arg for argument in function.args.args]
        if names[:1] in (["self"], ["cls"]) and type(call.func).__name__ == "Attribute":
            names = names[1:]
        given = [(keyword.arg, keyword.value) for keyword in call.keywords]
        given += zip(names, call.args)  # noqa: B905 - strict came with Python 3.10
        for name, value in given:
            if taint := self.of(value):
                self.taint.setdefault(("name", id(function), name), set()).update(taint)

    # -- what decides --------------------------------------------------------------------------------------------------
    def _use(self, taint: Taint, use: str, node: Any, but: Tuple[str, ...] = ()) -> None:
        for number in taint:
            if self.found[number][3] not in but and self.uses.get(number, (CONTROL,))[0] == CONTROL:
                if number not in self.uses or use == VALUE:
                    self.uses[number] = (use, self.file[id(node)], node.lineno)

    def _sink(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Call":
            self._sink_of_call(node)
        elif kind == "BinOp" and type(node.op).__name__ == "Mod" and not _is_text(node.left):
            self._use(self.of(node.left), VALUE, node, but=(CLOCK,))
        elif kind in ("If", "IfExp", "While", "Assert"):
            if kind != "If" or not self._only_reports(node):
                self._use(self.of(node.test), CONTROL, node)
        elif kind == "comprehension":
            for test in node.ifs:
                self._use(self.of(test), CONTROL, test)
        elif kind in ("Return", "Assign") and node.value is not None:
            if type(node.value).__name__ == "Compare":
                self._use(self.of(node.value), CONTROL, node)
            if kind == "Assign":
                self._sink_of_target(node.targets, node.value)
        elif kind == "AugAssign":
            self._sink_of_target([node.target], node.value)
        elif kind == "Subscript" and type(node.ctx).__name__ == "Load":
            self._use(self.of(node.slice), VALUE, node)

    def _sink_of_call(self, node: Any) -> None:
        name = _last_name(node.func)
        given = NONE.union(*(self.of(value) for value in _arguments(node)))
        if name in _SEEDING:
            self._use(given, VALUE, node)
        elif name in ("range", "islice"):
            self._use(given, VALUE, node)
        elif name == "hash":
            self._use(given, VALUE, node, but=(CLOCK,))
        elif name == "backward" and type(node.func).__name__ == "Attribute":
            self._computes(self.of(node.func.value))
        elif name in _BY_FUNCTION:
            for value in _arguments(node):
                self._computes(self._returned_by(value))
        elif name.endswith("_") and not name.endswith("__") and type(node.func).__name__ == "Attribute":
            self._computes(given)  # a tensor is changed in place
        elif name == "step" and "sched" in _last_name(getattr(node.func, "value", None)).lower():
            self._computes(given)
        for keyword in node.keywords:
            if keyword.arg in ("seed", "random_state") or keyword.arg in _HYPERPARAMETERS or keyword.arg in _SIZES:
                self._use(self.of(keyword.value), VALUE, node)
            if keyword.arg == "key" and name in ("sorted", "sort", "min", "max"):
                self._sink_of_key(keyword.value, node)

    def _returned_by(self, function: Any) -> Taint:
        """What a function that is passed on may return: a lambda, a function by its name, or an object that can be called."""
        kind = type(function).__name__
        if kind == "Lambda":
            return self.of(function.body)
        name = _last_name(function.func if kind == "Call" else function)
        return self._get(("return", name if name in self.functions else "__call__"))

    def _computes(self, taint: Taint) -> None:
        """Values that enter a loss: the line that reads them is the one to change."""
        for number in taint:
            if self.uses.get(number, (CONTROL,))[0] == CONTROL:
                file, line = self.found[number][:2]
                self.uses[number] = (VALUE, file, line)

    def _sink_of_key(self, key: Any, call: Any) -> None:
        if type(key).__name__ == "Lambda":
            self._use(self.of(key.body), VALUE, call)
        elif _last_name(key) in self.functions:
            self._use(self._get(("return", _last_name(key))), VALUE, call)

    def _sink_of_target(self, targets: List[Any], assigned: Any) -> None:
        for target in targets:
            kind = type(target).__name__
            name: Any = target.attr if kind == "Attribute" else None
            if kind == "Subscript":
                name = getattr(target.slice, "value", None)
                name = getattr(name, "value", name)  # Python 3.8 and older wrap it in Index
            if isinstance(name, str) and name in _HYPERPARAMETERS:
                self._use(self.of(assigned), VALUE, assigned)

    def _only_reports(self, node: Any) -> bool:
        """Whether both branches only print, log or remember the time."""
        return all(self._reports(one) for one in [*node.body, *node.orelse])

    def _reports(self, node: Any) -> bool:
        kind = type(node).__name__
        if kind == "Expr":
            inner = node.value
            return type(inner).__name__ == "Constant" or (
                type(inner).__name__ == "Call" and _last_name(inner.func) in _QUIET - {"append", "update"}
            )
        if kind in ("Assign", "AugAssign", "AnnAssign"):
            return (
                bool(self.of(node.value)) or _is_text(node.value) or isinstance(getattr(node.value, "value", ""), bool)
            )
        if kind == "If":
            return self._only_reports(node)
        return kind == "Pass"


def _last_name(node: Any) -> str:
    kind = type(node).__name__
    return str(node.attr) if kind == "Attribute" else str(node.id) if kind == "Name" else ""


def _arguments(call: Any) -> Iterator[Any]:
    yield from call.args
    for keyword in call.keywords:
        yield keyword.value


def _is_text(node: Any) -> bool:
    return type(node).__name__ == "JoinedStr" or (
        type(node).__name__ == "Constant" and isinstance(node.value, (str, bytes))
    )
