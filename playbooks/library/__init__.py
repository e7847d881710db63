"""The library: documents read and checked, their versions, and what is served of them."""

from playbooks.library.documents import Draft, VersionBody
from playbooks.library.grid import MAX_ARMS, expand
from playbooks.library.reading import read_library
from playbooks.library.serving import Library, PublishedPlaybook

__all__ = ["MAX_ARMS", "Draft", "Library", "PublishedPlaybook", "VersionBody", "expand", "read_library"]
