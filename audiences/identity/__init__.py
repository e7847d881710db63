"""Who is one person: profiles joined under one canonical user id, and how to take a join back.

docs/explanation/identity.md tells the rules, docs/decisions/0009 why they are so.
"""
