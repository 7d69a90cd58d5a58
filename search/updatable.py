"""Bundles that can learn more: what they hold beside a compiled student, and the run that one becomes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.candidate import Student
from results.store import RunStore, write_atomically
from results.updates import REPLAY, Version, Versions
from results.view import RunView
from search.config import SearchConfig, load_config
from search.display import Display
from understudy import BundleError, RunError

WEIGHTS, CONFIG, ORIGIN = "weights.safetensors", "config.yaml", "origin.json"
"""The weights as trained, the configuration of the search, and what was known of the run and the student."""


def updatable_files(
    store: RunStore, view: RunView, student: Student, scratch: Path, display: Display
) -> dict[str, Path]:
    """What an update of the student's bundle needs, by name there; what the run lacks is written in ``scratch``.

    ``student`` is one of the view, as it is in use. Its memory of earlier images is that of its last update, or
    is chosen now as an update would; none where the earlier data are gone. Raises ``RunError`` for a student that
    cannot be updated, and for a search with code of its own.
    """
    config = load_config(store.path / CONFIG, {"runs": str(store.path.parent), "name": store.path.name})
    if code := _code(config):
        raise RunError(
            f"{code} is code, which is not run from a bundle: deploy without --updatable, update the run"
        )
    version = Versions(store.path).current(student.number)
    files = {WEIGHTS: store.path / student.files["weights"], ORIGIN: scratch / ORIGIN, CONFIG: scratch / CONFIG}
    if REPLAY in student.files:
        files[REPLAY] = store.path / student.files[REPLAY]
    elif _remembers(store, config, student.number, scratch / REPLAY, display):
        files[REPLAY] = scratch / REPLAY
    (scratch / CONFIG).write_text(config.on(view.target or config.profile[0]).to_yaml())
    data = version.fingerprint if version else view.facts["origin"]["data"]
    facts = {
        **{name: fact for name, fact in view.facts.items() if name != "targets"},
        "origin": {**view.facts["origin"], "data": data},
        "learnt": [*view.facts.get("learnt", []), *map(_told, _lineage(store, version))],
    }
    (scratch / ORIGIN).write_text(json.dumps({"facts": facts, "student": student.to_json()}, indent=1))
    return files


def run_of(bundle: Path, files: Mapping[str, str], runs: Path) -> tuple[RunStore, int]:
    """A run in the folder ``runs`` with the student of a bundle as its only one, and that student's number.

    ``files`` are those of the manifest. Raises ``BundleError`` for a bundle that is not updatable or damaged, and
    for one that names code: bundles come from others, too, and what they name is not run.
    """
    missing = [name for name in (WEIGHTS, CONFIG, ORIGIN) if name not in files]
    if missing:
        raise BundleError(
            f"{bundle} cannot be updated, for it holds no {' and no '.join(missing)}: deploy it with "
            "`--updatable`, or update the run that it came from"
        )
    if code := _code(load_config(bundle / CONFIG, {})):
        raise BundleError(
            f"{bundle} names {code}: code is not run from a bundle; update the run that it came from"
        )
    try:
        origin = json.loads((bundle / ORIGIN).read_text())
        facts, student, held = origin["facts"], Student.from_json(origin["student"]), {"weights": WEIGHTS}
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{bundle / ORIGIN} is damaged ({error!r}): deploy the student again") from error
    store = RunStore.create(runs / bundle.resolve().name)
    if REPLAY in files:
        held[REPLAY] = REPLAY
    for name in held.values():
        shutil.copyfile(bundle / name, store.path / name)
    write_atomically(store.path / CONFIG, (bundle / CONFIG).read_bytes())
    store.write_facts(facts)
    store.write_students([replace(student, files=held, on_front=True)])
    return store, student.number


def _code(config: SearchConfig) -> str:
    """What of the configuration names a function or class in a Python file."""
    named = (config.space or "", config.data, *config.teacher, *config.teacher_model)
    return ", ".join(each for each in named if ".py:" in each)


def _remembers(store: RunStore, config: SearchConfig, number: int, path: Path, display: Display) -> bool:
    """Whether earlier images are at hand; those that an update would show again are written to the path."""
    from evaluators.lifelong.learn import choose_memory
    from search.former import open_former
    from search.updating import Request

    former = open_former(store, config, number, display)
    if former.earlier is None:
        return False
    choose_memory(former.network, former.earlier, former.like, Request.replay, Request.how, config.seed).save(path)
    return True


def _lineage(store: RunStore, version: Version | None) -> list[Version]:
    """A version and those that it came from, the first one first."""
    known = {each.number: each for each in Versions(store.path).all()}
    found: list[Version] = []
    while version is not None:
        found.insert(0, version)
        version = known.get(version.parent)
    return found


def _told(version: Version) -> dict[str, Any]:
    """What a version learnt and forgot."""
    return {name: getattr(version, name) for name in ("data", "kept", "replayed", "drift", "when")}
