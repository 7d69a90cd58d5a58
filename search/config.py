"""The configuration of a search: options, a YAML file, or both; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml

from evaluators.boards.address import BoardAddress
from evaluators.teachers.named import AUTO, COMBINED, NamedTeacher, parse_teachers, parse_width
from results.goals import Goal, Goals
from results.measurement import METRICS
from results.units import parse_time
from search.boards import boards_by_profile
from search.limits import LIMITS, are_parts, budget_on, check_limits, in_units
from understudy import ConfigError, unknown_name

TRAIN = "train"
"""The ``supernet`` that a search trains for itself."""
OUTPUTS, BLOCKS = "outputs", "blocks"
SUPERVISIONS = (OUTPUTS, BLOCKS)
"""What the parts of a supernet learn from."""
PRECISIONS = ("none", "int8", "mixed", "int8-weights", "int4-weights")
SAMPLERS = ("understudy", "tpe", "nsga2", "gp", "random")
_LEAST = {
    **dict.fromkeys(
        ("trials", "finalists", "threads", "epochs", "rungs", "final_epochs", "workers", "classes", "patience"), 1
    ),
    "supernet_epochs": 1,
    **dict.fromkeys(("seed", "tune"), 0),
    "image_size": 8,
}
_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
}
_UNITS = {
    "max_latency": "a time with its unit, such as 2ms",
    "max_first_token": "a time with its unit, such as 20ms",
    "time": "a time with its unit, such as 2h",
    "max_size": "a size with its unit, such as 4MB",
    "max_memory": "a size with its unit, such as 1MB",
    "max_energy": "an energy with its unit, such as 5mJ",
}
REPEATED = ("profile", "board", "teacher", "teacher_model", "warm_start", *LIMITS)
"""Options that may be given several times; in a file, as a list. A single one may stand as text."""


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SearchConfig:
    """Everything that a search is asked for. Limits and times are text with a unit (``2ms``, ``4MB``, ``2h``);
    see ``search.limits`` for limits on one of several profiles, and for parts of the teacher's.

    Raises ``ConfigError`` for a value that is out of range or of the wrong type.
    """

    data: str = _option(
        "digits",
        "digits, a folder of images or WAV files, an .npz file, a .csv or .tsv table of vectors or texts, a .txt "
        "file or a folder of such, pictures with questions.csv, a "
        "graph, a Hugging Face dataset, file.py:function or none (images are made from the teacher)",
    )
    name: str | None = _option(None, "name of the run (default: from the data)")
    runs: str = _option("results/runs", "folder of the runs")
    teacher: tuple[str, ...] = _option(
        (),
        "transformers directory, .pt2 program, .onnx file or weights (.safetensors, .pth); for a graph gcn (the "
        "default), gat or sage; builtin (trained here: the default) or builtin:seed=1; none; several, weighed as "
        "in a.onnx=0.7",
    )
    teacher_model: tuple[str, ...] = _option(
        (), "file.py:function that builds the network of --teacher's weights; of several, one each or one for all"
    )
    assistant: str | None = _option(
        None,
        "middle network that learns from the teacher and teaches the students: auto, or its width as in 0.5",
    )
    combine: str = _option("mean", "how several teachers' answers become one: mean, or agreement sample by sample")
    space: str | None = _option(
        None,
        "mobile, residual, mlp, speech, text, language, nni:NAME or file.py:Class (default: mobile for images, "
        "mlp for vectors, speech for WAV files, text for texts, language for plain text, answer for pictures with "
        "questions)",
    )
    profile: tuple[str, ...] = _option(
        ("x86-host",),
        "hardware profile (see `understudy profiles`); several, one set of candidates for all of them",
    )
    board: tuple[str, ...] = _option(
        (),
        "boards that measure, as TRACKER:KEY, such as 127.0.0.1:9190:pi, or rpi5=TRACKER:KEY for one of several",
    )
    threads: int | None = _option(None, "threads a student runs on (default: all cores of the profile)")
    max_latency: tuple[str, ...] = _option(
        (),
        "hard limit on latency (a token, for plain text), such as 2ms, teacher/5, or rpi5=8ms on one of several",
    )
    max_first_token: tuple[str, ...] = _option(
        (), "hard limit on the time from a prompt to the first token, of students of plain text, such as 20ms"
    )
    max_size: tuple[str, ...] = _option((), "hard limit on the compiled student's size, such as 4MB or teacher/5")
    max_memory: tuple[str, ...] = _option((), "hard limit on peak memory of one inference, such as 1MB")
    max_energy: tuple[str, ...] = _option((), "hard limit on the energy of one inference, such as 5mJ")
    objectives: tuple[str, ...] = _option(
        ("accuracy", "latency"), "what the front trades off: accuracy, latency, size, memory, energy"
    )
    trials: int = _option(60, "candidates to evaluate, infeasible ones included")
    time: str | None = _option(None, "stop proposing after this long, such as 2h")
    patience: int | None = _option(
        None, "stop proposing when so many taught candidates have not made the front better (by 0.1 %)"
    )
    warm_start: tuple[str, ...] = _option(
        (), "earlier run of the same space whose accuracies guide the sampler, whatever its data and devices"
    )
    sampler: str = _option("understudy", f"how candidates are proposed: {', '.join(SAMPLERS)}")
    seed: int = _option(0, "the one seed of the run")
    epochs: int | None = _option(None, "epochs a candidate is taught in the search (default: from the data)")
    rungs: int = _option(
        1,
        "lengths of teaching, the full one included, between which only the best third goes on",
    )
    final_epochs: int | None = _option(None, "epochs a student of the front is taught (default: from the data)")
    finalists: int = _option(8, "students of the front that are fully taught and measured again")
    distill: str | None = _option(
        None,
        "how a student is taught, as NAME or NAME:setting=value,... (see `understudy methods`; default: "
        "soft-targets, for nodes of a graph and questions with temperature=1); auto: chosen for each candidate",
    )
    quantise: str = _option(
        "none",
        "none; int8: students learn and compute in 8-bit integers; mixed: each part of a student or float32; "
        "int8-weights, int4-weights: dense layers and tables of tokens have weights of so many bits, all else is "
        "float32",
    )
    tune: float | None = _option(
        None, "seconds that each candidate's new kernels are tuned for; 0 uses what is known (default: neither)"
    )
    supernet: str | None = _option(
        None,
        "train: a supernet is taught once, candidates are scored with and begin with its weights; or an "
        "earlier run whose supernet is used (default: every candidate is taught by itself)",
    )
    supernet_epochs: int | None = _option(None, "epochs that a supernet is taught (default: from the data)")
    supervision: str = _option(
        OUTPUTS,
        "what the parts of a supernet learn from: outputs (answers of the teacher and of the largest part), or "
        "blocks (stage by stage, the teacher's features)",
    )
    image_size: int | None = _option(
        None, "largest input size in pixels, or tokens of a text that are seen at once (default: from the data)"
    )
    augment: str | None = _option(None, "none, shift or standard (default: from the data)")
    classes: int | None = _option(None, "with --data none: classes of the teacher")
    input_shape: str | None = _option(None, "with --data none: images that the teacher takes, such as 3x32x32")
    picture_size: int | None = _option(
        None,
        "with --data none: side of pictures that are scaled up to what the teacher takes (default: as large)",
    )
    input_mean: str | None = _option(
        None, "with --data none: what the teacher subtracts from channels in 0..1, such as 0.49,0.48,0.45 [0]"
    )
    input_std: str | None = _option(None, "with --data none: what it divides by then [1]")
    val_data: str | None = _option(None, "with --data none: real data that only judge, named as for --data")
    synthesis: str = _option("generator", "with --data none: how images are made, generator or inversion")
    skip_bad: bool = _option(False, "leave out unreadable images or rows instead of stopping")
    compare_scratch: bool = _option(False, "also train each student of the front without the teacher")
    workers: int | None = _option(None, "candidates evaluated at once (default: one a core, of all machines)")
    ray_address: str | None = _option(
        None,
        "HOST:PORT of a running Ray cluster that this computer is part of; its machines need the same "
        "installation and share the runs' folder (default: Ray on this computer alone)",
    )

    def __post_init__(self) -> None:
        for name in REPEATED:
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        hints = get_type_hints(SearchConfig)
        for item in fields(self):
            _check_type(item, getattr(self, item.name), hints[item.name])
        self._check_ranges()
        _ = self.time_limit

    def _check_ranges(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, but got {value}")
        if not self.profile or len(set(self.profile)) != len(self.profile):
            raise ConfigError(f"profile must name hardware profiles once each, but got {list(self.profile)}")
        check_limits(self._limits, self.profile)
        emulated = any(address.emulated for address in self.boards.values())
        if emulated and self.tune is not None:
            raise ConfigError("tune chooses kernels by their times, and an emulated board has none: leave it out")
        if self.data != "none":
            for name in ("classes", "input_shape", "picture_size", "input_mean", "input_std", "val_data"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{name} is for a search without data (--data none): leave it out")
        if self.relative and not self.teachers:
            raise ConfigError("a limit is a part of the teacher's, and there is to be none: give it with its unit")
        if self.teacher_model and not self.teachers:
            raise ConfigError("teacher_model builds a teacher's network, and there is to be none: leave it out")
        if self.assistant is not None and not self.teachers:
            raise ConfigError("an assistant learns from a teacher, and there is to be none: leave out --assistant")
        if self.assistant not in (None, AUTO):
            parse_width(str(self.assistant))
        if self.combine not in COMBINED:
            raise ConfigError(unknown_name("way to combine teachers", self.combine, COMBINED))
        if self.sampler not in SAMPLERS:
            raise ConfigError(unknown_name("sampler", self.sampler, SAMPLERS))
        if self.warm_start and self.sampler != "understudy":
            raise ConfigError(f"sampler {self.sampler} takes no warm start: use understudy, or leave it out")
        if self.quantise not in PRECISIONS:
            raise ConfigError(unknown_name("quantise", self.quantise, PRECISIONS))
        if self.quantise != "none" and 1 in (self.epochs, self.final_epochs):
            raise ConfigError(
                "students of integers learn in floats first: epochs and final_epochs must be at least 2, but got 1"
            )
        if self.supernet is not None and self.quantise != "none":
            raise ConfigError(
                "the sub-networks of a supernet compute in floats: leave out --supernet or --quantise"
            )
        if self.supernet_epochs is not None and self.supernet != TRAIN:
            raise ConfigError(
                f"supernet_epochs is for a supernet that is taught here: add --supernet {TRAIN}, or leave it out"
            )
        if self.supervision not in SUPERVISIONS:
            raise ConfigError(unknown_name("supervision", self.supervision, SUPERVISIONS))
        if self.supervision == BLOCKS and self.supernet is None:
            raise ConfigError(f"supervision is for a supernet: add --supernet {TRAIN}, or leave it out")
        if self.supervision == BLOCKS and len(self.teachers) != 1:
            raise ConfigError(
                f"blocks learn from features of one teacher, and there are to be {len(self.teachers)}: name one, "
                "or leave out --supervision blocks"
            )
        for objective in self.objectives:
            if objective not in METRICS:
                raise ConfigError(unknown_name("objective", str(objective), METRICS))
        if len(set(self.objectives)) != len(self.objectives) or "accuracy" not in self.objectives:
            got = ",".join(self.objectives)
            raise ConfigError(f"objectives must name accuracy, alone or with others, each once, but got {got}")

    @property
    def goals(self) -> Goals:
        """What each target's front trades off, within which limits (in seconds and bytes)."""
        several = len(self.profile) > 1
        return Goals(
            tuple(
                Goal(name if several else "", self.objectives, budget_on(name, self._limits))
                for name in self.profile
            )
        )

    @property
    def relative(self) -> bool:
        """Whether some limit is a part of what the teacher takes."""
        return are_parts(self._limits)

    def within(self, costs: Mapping[str, Mapping[str, float]]) -> SearchConfig:
        """The same with such limits in units; ``costs`` are the teacher's figures by profile and metric.

        Raises ``ConfigError`` for a figure that is not known.
        """
        limits: dict[str, Any] = in_units(self._limits, costs)
        return replace(self, **limits)

    @property
    def boards(self) -> Mapping[str, BoardAddress]:
        """The boards that measure, by profile."""
        return boards_by_profile(self.board, self.profile)

    @property
    def teachers(self) -> tuple[NamedTeacher, ...]:
        """The teachers that students learn from; nobody where there is to be none."""
        return parse_teachers(self.teacher)

    @property
    def _limits(self) -> dict[str, tuple[str, ...]]:
        return {option: getattr(self, option) for option in LIMITS}

    @property
    def time_limit(self) -> float | None:
        """Seconds after which no more candidates are proposed."""
        return None if self.time is None else parse_time(self.time)

    @property
    def run_path(self) -> Path:
        """Where the run is kept."""
        return Path(self.runs) / (self.name or _name_of(self.data))

    def on(self, profile: str) -> SearchConfig:
        """The same as if one of its profiles were the only one."""
        given: dict[str, Any] = {}
        for name in ("board", *LIMITS):
            texts = getattr(self, name)
            given[name] = tuple(text for text in texts if text.rpartition("=")[0] in ("", profile))
        return replace(self, profile=(profile,), **given)

    def anchored(self) -> SearchConfig:
        """The same with absolute paths, so that it means the same from any folder; the name stays the data's."""
        return replace(
            self,
            data=_anchor(self.data),
            teacher=tuple(map(_anchor_weighted, self.teacher)),
            teacher_model=tuple(map(_anchor, self.teacher_model)),
            space=self.space and _anchor(self.space),
            val_data=self.val_data and _anchor(self.val_data),
            supernet=self.supernet if self.supernet == TRAIN else self.supernet and _anchor(self.supernet),
            warm_start=tuple(map(_anchor, self.warm_start)),
            name=self.run_path.name,
            runs=str(self.run_path.parent.absolute()),
        )

    def to_yaml(self) -> str:
        """The configuration as a file that ``load_config`` reads; options left open are left out."""
        given = {
            key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items() if v not in (None, ())
        }
        return yaml.safe_dump(given, sort_keys=False)


def load_config(file: Path | None, options: Mapping[str, Any]) -> SearchConfig:
    """A configuration from a YAML file and options, which win; raises ``ConfigError`` for unknown keys."""
    values = {} if file is None else _read_yaml(file)
    known = {item.name for item in fields(SearchConfig)}
    for key in values:
        if key not in known:
            raise ConfigError(f"{file}: {unknown_name('key', key, known)}")
    values.update(options)
    objectives = values.get("objectives")
    if isinstance(objectives, str):
        values["objectives"] = [part.strip() for part in objectives.split(",")]
    for name in ("objectives", *REPEATED):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    return SearchConfig(**values)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must hold `key: value` lines, but got a {type(content).__name__}")
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def _check_type(item: Field[Any], value: Any, hint: Any) -> None:
    allowed = get_args(hint) if type(None) in get_args(hint) else (hint,)
    plain = tuple(tuple if str(kind).startswith("tuple") else kind for kind in allowed)
    if float in plain:
        plain = (*plain, int)
    texts = item.name in REPEATED and isinstance(value, tuple) and not all(isinstance(each, str) for each in value)
    if texts or not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
        expected = _UNITS.get(item.name) or _NAMES[plain[0]]
        raise ConfigError(f"{item.name} must be {expected}, but got {value!r}")


def _anchor(spec: str) -> str:
    """A path, or the path before a colon, made absolute if it is there; anything else as it is."""
    if spec == "digits":
        return spec
    path, colon, name = spec.rpartition(":") if ".py:" in spec else (spec, "", "")
    return f"{Path(path).absolute()}{colon}{name}" if Path(path).exists() else spec


def _anchor_weighted(text: str) -> str:
    """A teacher's path made absolute, its weight kept."""
    source, equals, weight = text.rpartition("=")
    return f"{_anchor(source)}={weight}" if equals and not Path(text).exists() else _anchor(text)


def default_of(item: Field[Any]) -> Any:
    """The default of a configuration field."""
    return None if item.default is MISSING else item.default


def _name_of(data: str) -> str:
    return Path(data.split(":")[0]).stem or "run"
