"""Controls: what an operator has stopped, for one user, playbook or channel, or for everything.

Rows of the database, which whoever decides, advances flows or sends reads anew several times a second.
"""

from playbooks.controls.models import NONE, Control, Controls, Mode, Scope, rule_of
from playbooks.controls.reading import Watched

__all__ = ["NONE", "Control", "Controls", "Mode", "Scope", "Watched", "rule_of"]
