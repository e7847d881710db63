"""Constraints: named rules that stop playbooks or single arms, each of which leaves a trace when it does.

`documents` are what one writes, `binding` joins them with a version of a playbook, `circumstances` is what is
known of the user at the moment, and `allowing` says what is stopped and by which rule: pure.
"""
