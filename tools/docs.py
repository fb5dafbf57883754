"""Write what the documents take from the code: python -m tools.docs [--check].

In each modules/NAME/README.md the parts between markers are written again: an example (the module's call in a root that
the tests plan), tables of inputs and outputs, what is refused. policies/SKIPS.md is the register of checkov's skips.
Each module and root gets a copy of versions.tf, bootstrap one of function's compiled_for.tf. A link would not survive
an archive of the repository. docs/pinning.md has the table of what to write instead of a statement that pins, which the
stand-in's reports repeat.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
from hcl2.utils import SerializationOptions

from local.rds_proxy import advice

ROOT = Path(__file__).parents[1]
EXAMPLES_OF_CALLS = ("terraform/prod/main.tf", "examples/users-api/main.tf", "examples/aurora/main.tf")
SKIPS = ROOT / "policies" / "SKIPS.md"
PINNING = ROOT / "docs" / "pinning.md"
EXAMPLES = tomllib.loads(Path(__file__).with_name("refusal_examples.toml").read_text())
TERRAFORM_FOLDERS = ("modules", "terraform", "examples")

Blocks = list[tuple[str, dict[str, Any]]]


class DocumentError(Exception):
    """Something that a document needs is missing in the code."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the generated parts of the documents.")
    parser.add_argument("--check", action="store_true", help="only say which documents are stale")
    check = parser.parse_args().check
    try:
        wanted = dict(documents())
        stale = [path for path, text in wanted.items() if not is_current(path, text)]
    except DocumentError as error:
        sys.exit(str(error))
    if check and stale:
        sys.exit(f"Stale: {', '.join(str(path.relative_to(ROOT)) for path in stale)}. Run make docs.")
    for path in stale:
        path.unlink(missing_ok=True)
        path.write_text(wanted[path])


def is_current(path: Path, text: str) -> bool:
    """Tell whether the document is a file of its own with this text."""
    return path.is_file() and not path.is_symlink() and path.read_text() == text


def documents() -> Iterator[tuple[Path, str]]:
    """Each document with the text it should have."""
    for folder in TERRAFORM_FOLDERS:
        for main in sorted(ROOT.glob(f"{folder}/*/main.tf")):
            yield main.with_name("versions.tf"), (ROOT / "versions.tf").read_text()
    for original in ROOT.glob("modules/function/compiled_for.tf"):
        yield ROOT / "modules" / "bootstrap" / original.name, original.read_text()
    for readme in sorted(ROOT.glob("modules/*/README.md")):
        yield readme, module_readme(readme)
    yield PINNING, _with_part(PINNING, "what to write instead", advice.table())
    yield SKIPS, register_of_skips([path for place in TERRAFORM_FOLDERS for path in _sources(place)])


def module_readme(readme: Path) -> str:
    """The README with the parts between its markers written again."""
    module = readme.parent
    blocks = [block for path in sorted(module.glob("*.tf")) for block in _parse(path)]
    parts = {
        "example": _example(module.name),
        "inputs": _inputs(_named("variable", blocks)),
        "outputs": _outputs(_named("output", blocks)),
        "refusals": _refusals(readme.parent.name, blocks),
    }
    text = readme.read_text()
    for name, part in parts.items():
        text = _with_part(readme, name, part, text)
    return text


def _with_part(path: Path, name: str, part: str, text: str | None = None) -> str:
    """The text of a page, by default as it is on disk, with the part between these markers written again."""
    marked = re.compile(f"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    text = path.read_text() if text is None else text
    if not marked.search(text):
        raise DocumentError(f"{path.relative_to(ROOT)} has no markers for {name}.")
    return marked.sub(lambda found: f"{found[1]}\n{part}\n\n{found[2]}", text)


def register_of_skips(paths: list[Path]) -> str:
    """Every check that a resource is excused from, and why."""
    lines = [
        "# Skipped checks",
        "",
        "Written by `make docs` from the comments at the resources. A skip without a reason fails `make lint`.",
        "",
        "| resource | check | reason |",
        "|---|---|---|",
    ]
    for path in paths:
        resource = ""
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if found := re.match(r'(?:resource|data) "(\w+)" "(\w+)"', line):
                resource = f"{found[1]}.{found[2]}"
            if "checkov:skip" not in line:
                continue
            skip = re.search(r"checkov:skip=(\w+):\s*(\S.*)", line)
            if skip is None:
                raise DocumentError(
                    f"{path.relative_to(ROOT)}:{number}: a skip needs a reason: checkov:skip=CHECK:reason."
                )
            lines.append(_row(f"{path.parent.relative_to(ROOT)}: `{resource}`", skip[1], skip[2]))
    return "\n".join(lines) + "\n"


def _sources(place: str) -> list[Path]:
    return [path for path in sorted((ROOT / place).rglob("*.tf")) if ".terraform" not in path.parts]


def _example(module: str) -> str:
    """The module's call in the first root that has one."""
    for root in EXAMPLES_OF_CALLS:
        text = (ROOT / root).read_text()
        if call := re.search(rf'^module "{module}" {{\n.*?^}}$', text, re.DOTALL | re.MULTILINE):
            return f"```hcl\n{call[0]}\n```\n\nFrom [{root}](../../{root}), which the tests plan."
    raise DocumentError(
        f"{' and '.join(EXAMPLES_OF_CALLS)} do not call the module {module}: its README has no example."
    )


def _inputs(variables: Blocks) -> str:
    rows = [
        _row(
            f"`{name}`",
            variable["description"],
            f"`{_plain(variable['type'])}`",
            f"`{_value(variable['default'])}`" if "default" in variable else "required",
        )
        for name, variable in sorted(variables, key=lambda pair: "default" in pair[1])
    ]
    return "\n".join(["| name | description | type | default |", "|---|---|---|---|", *rows])


def _outputs(outputs: Blocks) -> str:
    return "\n".join(
        ["| name | description |", "|---|---|", *(_row(f"`{name}`", output["description"]) for name, output in outputs)]
    )


def _refusals(module: str, blocks: Blocks) -> str:
    rows = [
        _row(f"`{address}`", "a warning" if kind == "assert" else "an error", message)
        for address, kind, message in messages(module, blocks)
    ]
    return "\n".join(["| at | is | message |", "|---|---|---|", *dict.fromkeys(rows)]) if rows else "Nothing."


def messages(module: str, blocks: Blocks) -> Iterator[tuple[str, str, str]]:
    """Each message of a module, with examples for its expressions: the address, the kind of condition, the text."""
    known = EXAMPLES["every"] | EXAMPLES.get(module, {})
    left = {expression: [given] if isinstance(given, str) else [*given] for expression, given in known.items()}
    for address, block in blocks:
        for kind, condition in _conditions(block):
            parts = re.split(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}", condition["error_message"])
            for expression in set(parts[1::2]):
                if expression not in left:
                    raise DocumentError(f"refusal_examples.toml needs an example for modules/{module}: {expression}")
            filled = [left[part][0] if number % 2 else part for number, part in enumerate(parts)]
            for expression in set(parts[1::2]):
                del left[expression][: len(left[expression]) > 1]
            yield address, kind, "".join(filled)


def _conditions(block: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    holders = [block, *block.get("lifecycle", [])]
    for kind in ("validation", "precondition", "postcondition", "assert"):
        for holder in holders:
            for condition in holder.get(kind, []):
                yield kind, condition


def _parse(path: Path) -> Blocks:
    """The blocks of a file by address: variable.name, resource's type.name."""
    document = hcl2.loads(path.read_text(), serialization_options=SerializationOptions(strip_string_quotes=True))
    found: Blocks = []
    for kind in ("variable", "output", "check"):
        found += [(f"{kind}.{name}", body) for block in document.get(kind, []) for name, body in block.items()]
    for block in document.get("resource", []):
        found += [(f"{kind}.{name}", body) for kind, named in block.items() for name, body in named.items()]
    return found


def _named(kind: str, blocks: Blocks) -> Blocks:
    return [(address.removeprefix(f"{kind}."), body) for address, body in blocks if address.startswith(f"{kind}.")]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ").replace('\\"', '"') for cell in cells) + " |"


def _plain(expression: str) -> str:
    """A type without the template marks that the parser puts around it."""
    return re.sub(r"^\$\{(.*)\}$", r"\1", expression, flags=re.DOTALL).replace("({", "({ ").replace("})", " })")


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case str():
            return value if value.startswith("${") else f'"{value}"'
        case list():
            return f"[{', '.join(_value(item) for item in value)}]"
        case dict():
            items = [f"{key} = {_value(item)}" for key, item in value.items() if not key.startswith("__")]
            return f"{{ {', '.join(items)} }}" if items else "{}"
    return str(value)


if __name__ == "__main__":
    main()
