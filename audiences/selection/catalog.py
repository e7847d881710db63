"""Which audiences there are: those of the library's file, and those made over the API, each with versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from audiences.definitions import AudienceSpec, Definitions, define
from audiences.errors import AudienceChanged, AudienceError, AudienceOfFile, AudienceTaken, UnknownAudience
from audiences.library_files import told
from audiences.rules import Rule, Schema, parse
from audiences.selection import repository
from audiences.selection.repository import Version
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

CHANGED_LABEL = "audience"


@dataclass(frozen=True, slots=True)
class Catalog:
    """All audiences at a moment: those that are sound, what is wrong with the others, and their versions.

    `tags` maps each audience to what its definition is known by, as an ETag says it.
    """

    definitions: Definitions
    problems: Mapping[str, str]
    specs: Mapping[str, AudienceSpec]
    etags: Mapping[str, str]
    versions: Mapping[str, int]

    def spec(self, audience: str) -> AudienceSpec:
        """The definition of an audience, sound or not. Raises UnknownAudience."""
        spec = self.specs.get(audience)
        if spec is None:
            raise UnknownAudience(f"there is no audience {audience!r}; GET /v1/audiences lists them")
        return spec


class Catalogs:
    """Reads the catalog, and takes edits over the API. An edit that is wrong in any part changes nothing."""

    def __init__(self, database: Database, file: Definitions, schema: Schema) -> None:
        self._database = database
        self._file = file
        self.schema = schema
        self._seen: tuple[Version, ...] | None = None
        self._catalog = self._made(())

    def read(self, connection: Connection | None = None) -> Catalog:
        """The audiences there are now."""
        if connection is None:
            with self._database.read() as opened:
                return self.read(opened)
        found = tuple(repository.latest_versions(connection))
        if found != self._seen:
            self._catalog, self._seen = self._made(found), found
        return self._catalog

    def rule(self, text: str) -> Rule:
        """A rule over the audiences there are. Raises RuleError."""
        return parse(text, self.schema.with_audiences(self.read().specs))

    def create(self, spec: AudienceSpec, by: str, now: datetime, why: str = "") -> str:
        """Make an audience; return its ETag.

        Raises:
            AudienceTaken: there is one of that id.
            AudienceError: it is wrong; nothing was changed.
        """
        catalog = self.read()
        if spec.id in catalog.specs:
            raise AudienceTaken(
                f"there is an audience {spec.id!r} already; change it with PUT, or take another id"
            )
        self._refuse_wrong(catalog, spec)
        return self._keep(spec.id, spec, self._last_version(spec.id), by, now, why)

    def change(self, spec: AudienceSpec, etag: str, by: str, now: datetime, why: str = "") -> str:
        """Make a new version of an audience; return its ETag.

        Raises:
            UnknownAudience, AudienceOfFile: it can't be changed here.
            AudienceChanged: it is no longer what `etag` says.
            AudienceError: the new version is wrong; the old one stays.
        """
        catalog = self._editable(spec.id, etag)
        if catalog.specs[spec.id].kind != spec.kind and "list" in {catalog.specs[spec.id].kind, spec.kind}:
            raise AudienceError(f"{spec.id}: a list stays a list; make another audience for a rule or sets")
        self._refuse_wrong(catalog, spec)
        return self._keep(spec.id, spec, catalog.versions[spec.id], by, now, why)

    def retire(self, audience: str, etag: str, by: str, now: datetime, why: str = "") -> None:
        """Let an audience end; its versions are kept. Raises as `change`, and if another is made of it."""
        catalog = self._editable(audience, etag)
        users = [
            one.id for one in catalog.definitions.audiences if audience in catalog.definitions.needs(one.id)
        ]
        if users:
            raise AudienceError(f"{audience}: {', '.join(users)} is made of it; change that first")
        self._keep(audience, None, catalog.versions[audience], by, now, why)

    def take_back(self, audience: str, version: int, by: str, now: datetime, why: str = "") -> None:
        """Let the definition before a version hold again, as a new version; before the first there was none.

        Raises:
            AudienceChanged: another version came after it.
            UnknownAudience, AudienceOfFile, AudienceTaken, AudienceError: as the edit that does it.
        """
        found = self.history(audience)
        if not found or found[0].version != version:
            raise AudienceChanged(
                f"the audience {audience!r} was changed after version {version}: take the later change back "
                "first"
            )
        before = found[1].body if len(found) > 1 else None
        if before is None:
            self.retire(audience, self.read().etags.get(audience, ""), by, now, why)
            return
        spec = AudienceSpec.model_validate_json(before)
        if found[0].body is None:
            self.create(spec, by, now, why)
        else:
            self.change(spec, self.read().etags.get(audience, ""), by, now, why)

    def history(self, audience: str) -> list[Version]:
        """All versions of an audience made over the API, newest first; none of one of the file."""
        with self._database.read() as connection:
            found = repository.history(connection, audience)
        if not found:
            self.read().spec(audience)
        return found

    def _editable(self, audience: str, etag: str) -> Catalog:
        catalog = self.read()
        catalog.spec(audience)
        if audience not in catalog.versions:
            raise AudienceOfFile(f"{audience!r} is defined in the library's audiences.yaml: change it there")
        if etag != catalog.etags[audience]:
            raise AudienceChanged(
                f"the audience {audience!r} was changed meanwhile; read it again and send its new ETag"
            )
        return catalog

    def _refuse_wrong(self, catalog: Catalog, spec: AudienceSpec) -> None:
        others = [one for one in catalog.specs.values() if one.id != spec.id]
        _, problems = define([*others, spec], (), self.schema)
        fresh = {
            name: said for name, said in problems.items() if name not in catalog.problems or name == spec.id
        }
        if fresh:
            # What is wrong with others because of this one follows from it.
            raise AudienceError(fresh.get(spec.id) or "; ".join(fresh.values()))

    def _last_version(self, audience: str) -> int:
        with self._database.read() as connection:
            return max((one.version for one in repository.history(connection, audience)), default=0)

    def _keep(
        self, audience: str, spec: AudienceSpec | None, after: int, by: str, now: datetime, why: str
    ) -> str:
        body = None if spec is None else _body(spec)
        version = Version(audience, after + 1, body, now, by)
        before = self.read().specs.get(audience)
        change = {
            "what": "audience",
            "id": audience,
            "version": after + 1,
            "by": by,
            "why": why,
            "retired": spec is None,
            "before": None if before is None else before.document(),
            "definition": None if spec is None else spec.document(),
        }

        def work(connection: Connection) -> None:
            repository.add_version(connection, version)
            ledger.append(
                connection, [NewFact(Kind.CHANGE, new_id(now), CHANGED_LABEL, None, now, change)], now
            )

        try:
            self._database.write(work, rows=2, lane=Lane.REQUEST)
        except IntegrityError as error:
            raise AudienceChanged(
                f"the audience {audience!r} was changed meanwhile; read it again"
            ) from error
        return etag_of(after + 1, body or "")

    def _made(self, found: Sequence[Version]) -> Catalog:
        specs = {one.id: one for one in self._file.audiences}
        problems: dict[str, str] = {}
        versions: dict[str, int] = {}
        etags = {one.id: etag_of(0, _body(one)) for one in self._file.audiences}
        for version in found:
            # What the library's file says of an id goes before what was made over the API.
            if version.body is None or version.audience in specs:
                continue
            try:
                spec = AudienceSpec.model_validate_json(version.body)
            except ValidationError as error:
                problems[version.audience] = f"{version.audience}: {told(error)}"
                continue
            specs[spec.id] = spec
            versions[spec.id] = version.version
            etags[spec.id] = etag_of(version.version, version.body)
        definitions, wrong = define(list(specs.values()), self._file.tags, self.schema)
        return Catalog(definitions, {**problems, **wrong}, specs, etags, versions)


def etag_of(version: int, body: str) -> str:
    """By what a version of a definition is known."""
    return f'"{version}-{blake2b(body.encode(), digest_size=6).hexdigest()}"'


def _body(spec: AudienceSpec) -> str:
    return json.dumps(spec.document(), ensure_ascii=False, sort_keys=True)
