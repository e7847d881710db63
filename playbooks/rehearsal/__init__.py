"""Rehearsals: what a playbook would do to its real audience now, found out without doing anything.

Users whom matching can't tell apart are one group (`groups`), of which it is asked about one (`asking`); what
it answers is counted (`reach`), and what the policy would draw is expected from a sample (`expecting`).
"""
