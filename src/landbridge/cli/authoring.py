"""Commands for whoever writes an integration."""

import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from landbridge.cli.terminal import AsJson, done
from landbridge.errors import Conflict, InvalidRequest

_NAME = re.compile(r"[a-z][a-z0-9]{1,29}")
_SCOPE = re.compile(r"[A-Z][A-Za-z]{1,29}")
_TITLE = re.compile(r"[A-Z][A-Za-z0-9 .-]{0,39}")
_NEEDED = ("src/landbridge/integrations", "tests/conformance")


def new_integration(
    name: Annotated[str, typer.Argument(help="The folder's name: small letters and digits, such as `todo`.")],
    scope: Annotated[
        str, typer.Option(help="The first word of the product's permissions at Microsoft: `Tasks` of `Tasks.Read`.")
    ],
    title: Annotated[str | None, typer.Option(help="What people call the product; else the name.")] = None,
    tree: Annotated[Path, typer.Option(help="A checkout of Landbridge.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write the folder of an integration for another product, and a stub of the product to judge it on."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InvalidRequest("The name is a letter, then letters or digits, all small, 30 at most; and no Python word.")
    if not _SCOPE.fullmatch(scope):
        raise InvalidRequest("The first word of a permission is a capital letter, then letters, 30 at most.")
    title = title or name.capitalize()
    if not _TITLE.fullmatch(title):
        raise InvalidRequest("The title is a capital letter, then letters, digits, spaces, points, dashes; 40 at most.")
    if missing := [folder for folder in _NEEDED if not (tree / folder).is_dir()]:
        raise InvalidRequest(f"{tree.resolve()} is no checkout of Landbridge: it has no {missing[0]}.")
    if (tree / _NEEDED[0] / name).exists():
        raise Conflict(f"There is a folder {_NEEDED[0]}/{name} already.")
    words = {"name": name, "title": title, "noun": name.capitalize(), "scope": scope}
    for path, text in _templates(files("landbridge.cli").joinpath("new_integration")):
        written = tree / path.replace("NAME", name)
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(Template(text).substitute(words), encoding="utf-8")
    done(f"Written: {_NEEDED[0]}/{name} and tests/integrations/{name}. Now run make docs, and make test.", as_json)


def _templates(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path in the tree and the text of each template; `.txt` at their ends keeps tools from reading them."""
    for one in folder.iterdir():
        if one.is_dir():
            yield from _templates(one, f"{above}{one.name}/")
        else:
            yield above + one.name.removesuffix(".txt"), one.read_text("utf-8")
