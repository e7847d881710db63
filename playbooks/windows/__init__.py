"""Send windows: when messages may go out, on the clock of whoever gets them.

`spec` is how a window is written, `document` the file `windows.yaml` with whom each window is for, `moments`
the pure engine over time zones, `days_off` the calendars of holidays, `ruling` what becomes of a message now.
"""

from playbooks.windows.document import Rule, Windows
from playbooks.windows.moments import Place, next_open, opens
from playbooks.windows.ruling import Hold, Ruling, Skip, rule_of, ruling_of
from playbooks.windows.spec import Window

__all__ = [
    "Hold",
    "Place",
    "Rule",
    "Ruling",
    "Skip",
    "Window",
    "Windows",
    "next_open",
    "opens",
    "rule_of",
    "ruling_of",
]
