"""Plan many changed copies of a module at once, and ask the module's tests about each of them.

A plan alone takes seconds; one plan of many copies takes hardly more. The tests run as they are: in the place of the
plans that they ask for they get those of the copy.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests import plans
from tests.mutations.places import Mutation

Calls = Mapping[str, Mapping[str, Any]]
Noticed = dict[Mutation, str]

REFUSING = "test_wrong_arguments_are_refused"
TERRAFORM = "Terraform"
NOT_ASKED = ("plan_change", "plan_refusals")  # the one applies, the other wants to be refused
UNCHANGED = 9999

plan_folder, module_root = plans.plan_folder, plans.module_root


class Module:
    """A module, and the tests that plan it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tests = plans.ROOT / "tests" / "modules" / f"test_{name}.py"
        self._asked: list[Calls] = []  # the sets of calls that the tests plan together
        self._standing: set[int] = set()  # those that they plan as if they stood
        self._find_out_what_is_asked()

    def noticed(self, mutations: list[Mutation]) -> Noticed:
        """Who notices what: Terraform itself, or a test by its name."""
        copies = {number: self._copy(mutation) for number, mutation in enumerate(mutations)}
        unchanged = self._copy(None)
        planned = self._plan_all(copies | {UNCHANGED: unchanged})
        failing = self._failing_test(unchanged, planned.pop(UNCHANGED)) if UNCHANGED in planned else TERRAFORM
        if failing:
            sys.exit(f"Without a change, {self.name} is refused already: {failing}.")
        found = {mutations[number]: TERRAFORM for number in copies.keys() - planned.keys()}
        for number, given in planned.items():
            if test := self._failing_test(copies[number], given):
                found[mutations[number]] = test
        left = [number for number in planned if mutations[number] not in found and _may_refuse(mutations[number])]
        return found | {mutations[number]: case for number, case in self._misjudged(copies, left)}

    def _find_out_what_is_asked(self) -> None:
        """Let every plan fail, and note what it was to be."""

        def note(_: str, calls: Calls) -> Path:
            if sys._getframe(1).f_code.co_name in NOT_ASKED:
                raise NotImplementedError
            if calls not in self._asked:
                self._asked.append(calls)
            if sys._getframe(1).f_code.co_name == "plan_standing":
                self._standing.add(self._asked.index(calls))
            raise NotImplementedError

        with patch.object(plans, "module_root", note):
            _run(self._tests, "--maxfail=1000")

    def _copy(self, mutation: Mutation | None) -> Path:
        folder = plans.temporary_folder() / self.name
        shutil.copytree(plans.ROOT / "modules" / self.name, folder, ignore=shutil.ignore_patterns("*.md"))
        if mutation:
            changed = folder / mutation.file.name
            changed.write_text(mutation.apply(changed.read_text()))
        return folder

    def _calls(self, copies: Mapping[int, Path], sets: Iterable[int]) -> dict[str, Mapping[str, Any]]:
        return {
            f"{call}{_mark(set_, number)}": {**arguments, "source": str(copy)}
            for number, copy in copies.items()
            for set_ in sets
            for call, arguments in self._asked[set_].items()
        }

    def _plan_all(self, copies: Mapping[int, Path]) -> dict[int, dict[str, plans.Plan]]:
        """Plan all copies that Terraform does not refuse: by number, by mark."""
        if not copies:
            return {}
        sets = range(len(self._asked))
        try:
            planned = plan_folder(module_root(self.name, self._calls(copies, sets)))
            standing = self._plan_standing(copies, planned)
        except (plans.PlanError, RuntimeError) as error:
            guilty = {_number(call) for call in _said(error)} & copies.keys()
            if guilty or len(copies) == 1:
                return self._plan_all({n: copy for n, copy in copies.items() if guilty and n not in guilty})
            return {number: found for n, copy in copies.items() for number, found in self._plan_all({n: copy}).items()}
        found: dict[int, dict[str, plans.Plan]] = {}
        for number in copies:
            found[number] = {f"{set_}": _part(planned.document, _mark(set_, number)) for set_ in sets}
            found[number] |= {f"{set_} standing": _part(standing, _mark(set_, number)) for set_ in self._standing}
        return found

    def _plan_standing(self, copies: Mapping[int, Path], planned: plans.Plan) -> dict[str, Any]:
        if not self._standing:
            return {}
        calls = self._calls(copies, self._standing)
        folder = module_root(self.name, calls)
        state = plans.state_as_planned(planned)
        state["resources"] = [each for each in state["resources"] if each["module"].removeprefix("module.") in calls]
        (folder / "terraform.tfstate").write_text(json.dumps(state))
        return plan_folder(folder, refresh=False).document

    def _failing_test(self, copy: Path, planned: Mapping[str, plans.Plan]) -> str | None:
        asked: dict[Path, Calls] = {}

        def root(_: str, calls: Calls) -> Path:
            if sys._getframe(1).f_code.co_name in NOT_ASKED:
                pytest.skip("It applies, or is refused.")
            folder = plans.temporary_folder()
            asked[folder] = calls
            return folder

        def plan(folder: Path, **options: Any) -> plans.Plan:
            set_ = self._asked.index(asked[folder])
            if not options:
                return planned[f"{set_}"]
            if options == {"refresh": False}:
                return planned[f"{set_} standing"]
            calls = {call: {**arguments, "source": str(copy)} for call, arguments in asked[folder].items()}
            real = module_root(self.name, calls)
            shutil.copy(folder / "terraform.tfstate", real)
            return plan_folder(real, **options)

        with patch.object(plans, "module_root", root), patch.object(plans, "plan_folder", plan):
            return next(iter(_run(self._tests, "-x")), None)

    def _misjudged(self, copies: Mapping[int, Path], numbers: list[int]) -> Iterator[tuple[int, str]]:
        """A case of wrong arguments for each copy that says otherwise than the tests want."""
        refusals: plans.Refusals = importlib.import_module(f"tests.modules.test_{self.name}").REFUSALS
        left = {
            f"{case}{_mark(0, number)}": {**arguments, "source": str(copies[number])}
            for number in numbers
            for case, (arguments, _) in refusals.items()
        }
        said: dict[str, str] = {}
        while left:  # Terraform refuses in stages
            try:
                plan_folder(module_root(self.name, left))
                break
            except (plans.PlanError, RuntimeError) as error:
                more = _said(error)
                said |= more
                left = {call: arguments for call, arguments in left.items() if call not in more} if more else {}
        for number in numbers:
            for case, (_, phrase) in refusals.items():
                if phrase not in said.get(f"{case}{_mark(0, number)}", ""):
                    yield number, f"{REFUSING}[{case}]"
                    break


def _mark(set_: int, number: int) -> str:
    return f"__{set_}x{number:04}"


def _may_refuse(mutation: Mutation) -> bool:
    return mutation.kind == "limit" or mutation.where.startswith(("variable.", "locals."))


def _number(call: str) -> int:
    return int(call[-4:])


def _said(error: Exception) -> dict[str, str]:
    """What Terraform says of each marked call."""
    said: dict[str, str] = {}
    for diagnostic in getattr(error, "diagnostics", [{"detail": str(error)}]):
        where = [diagnostic.get("address"), (diagnostic.get("range") or {}).get("filename"), diagnostic.get("detail")]
        where.append((diagnostic.get("snippet") or {}).get("context"))
        for call in set(re.findall(r"(\w+__\d+x\d{4})", " ".join(map(str, where)))):
            said[call] = f"{said.get(call, '')}\n{diagnostic.get('summary')}: {diagnostic['detail']}"
    return said


def _part(document: dict[str, Any], mark: str) -> plans.Plan:
    """What a plan says of the calls with a mark, as if there were no others and no mark."""
    root = document["configuration"]["root_module"]
    part = {
        "resource_changes": [
            change for change in document["resource_changes"] if change.get("module_address", "").endswith(mark)
        ],
        "checks": [check for check in document.get("checks", []) if mark in check["address"]["to_display"]],
        "planned_values": {
            "root_module": {
                "child_modules": [
                    child
                    for child in document["planned_values"]["root_module"]["child_modules"]
                    if child["address"].endswith(mark)
                ]
            }
        },
        "configuration": {
            "root_module": {"module_calls": {n: call for n, call in root["module_calls"].items() if n.endswith(mark)}}
        },
    }
    return plans.Plan(json.loads(json.dumps(part).replace(mark, "")))


class _Failures:
    """A plugin of pytest that notes which tests fail."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid.rsplit("::", 1)[-1])


def _run(tests: Path, *options: str) -> list[str]:
    """The names of the tests that fail, those of wrong arguments left out."""
    failures = _Failures()
    command = [str(tests), "-q", "-k", f"not {REFUSING}", "-p", "no:cacheprovider", "-p", "no:xdist", *options]
    with redirect_stdout(StringIO()):
        code = pytest.main(command, plugins=[failures])
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED), code
    return failures.names
