"""Templates: playbooks to begin with. Each brings the offers, contents and audiences that it speaks of.

A template is one YAML file in playbooks/templates/: `about`, `playbook`, and lists of `offers`, `contents`,
`audiences` and `triggers` as they stand in the files of a library.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from playbooks.content.documents import Content
from playbooks.document import Document
from playbooks.errors import LibraryError, UnknownTemplate
from playbooks.library.problems import found_in, refuse
from playbooks.library.yaml_text import parse
from playbooks.library.yaml_text import written as as_yaml
from playbooks.models import Playbook
from playbooks.offers import Offer
from playbooks.suggesting import closest

FOLDER = Path(__file__).parents[1] / "templates"
# The files that a template adds to, what they are in it, and the key under which they list it.
_FILES = (
    ("offers.yaml", "offers", None),
    ("contents.yaml", "contents", None),
    ("audiences.yaml", "audiences", "audiences"),
    ("triggers.yaml", "triggers", "triggers"),
)


class Template(Document):
    """A playbook to begin with, and what it needs."""

    about: str
    playbook: Playbook
    offers: list[Offer] = []
    contents: list[Content] = []
    audiences: list[dict[str, Any]] = []
    triggers: list[dict[str, Any]] = []


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all templates."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_template(name: str, folder: Path = FOLDER) -> Template:
    """Return a template.

    Raises:
        UnknownTemplate: there is none of that name.
    """
    if name not in names(folder):
        raise UnknownTemplate(f"there is no template {name!r}{closest(name, names(folder))}")
    path = folder / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    try:
        return Template.model_validate(parse(str(path), text))
    except ValidationError as error:
        refuse(list(found_in(error, Template, str(path), text)), f"the template {name} is wrong")
        raise


def files_with(
    folder: Path, name: str, playbook: str, templates: Path = FOLDER
) -> tuple[dict[Path, str], list[str]]:
    """Return the texts of the files that a library folder has with a playbook made from a template.

    Only files that change are returned, with what is added to each, as text; what is there already under an
    id stays as it is. Nothing is written.

    Raises:
        UnknownTemplate: there is no such template.
        LibraryError: there is a playbook of that id, or a file can't be added to.
    """
    read_template(name, templates)
    template = templates / f"{name}.yaml"
    # As it is written, which is shorter than what the models would say of it.
    written: dict[str, Any] = parse(str(template), template.read_text(encoding="utf-8"))
    path = folder / "playbooks" / f"{playbook}.yaml"
    if path.exists():
        raise LibraryError(f"{path}: there is a playbook of that id already: take another")
    document = {**written["playbook"], "id": playbook, "origin": "template"}
    texts, added = {path: as_yaml(document)}, [f"{path}: the playbook"]
    for file, kind, key in _FILES:
        wanted = written.get(kind, [])
        target = folder / file
        text = target.read_text(encoding="utf-8") if target.exists() else ""
        here = _ids(target, text, key)
        missing = [one for one in wanted if _id(one) not in here]
        if missing:
            texts[target] = _with_items(target, text, key, missing)
            added.append(f"{target}: {', '.join(_id(one) for one in missing)}")
    return texts, added


def _id(document: Mapping[str, Any]) -> str:
    return str(document.get("id", ""))


def _ids(path: Path, text: str, key: str | None) -> set[str]:
    value = parse(str(path), text) if text.strip() else None
    listed = value.get(key) if key is not None and isinstance(value, dict) else value
    return {_id(one) for one in listed or [] if isinstance(one, dict)} if isinstance(listed, list) else set()


def _with_items(path: Path, text: str, key: str | None, items: list[dict[str, Any]]) -> str:
    """Return a file's text with items at the end of its list, or of the one under `key`; comments stay."""
    if key is None:
        return (text if not text or text.endswith("\n") else f"{text}\n") + as_yaml(items)
    block = "".join(f"  {line}\n" for line in as_yaml(items).splitlines())
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if line.split("#")[0].rstrip() == f"{key}:":
            return "".join([*lines[: index + 1], block, *lines[index + 1 :]])
    if any(line.startswith(f"{key}:") for line in lines):
        raise LibraryError(f"{path}: {key} is not a list of lines; add this to it by hand:\n{block}")
    return (text if not text or text.endswith("\n") else f"{text}\n") + f"{key}:\n{block}"
