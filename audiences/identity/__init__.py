"""Who is one person: profiles joined under one canonical user id, and how to take a join back.

docs/how-to/identity.md tells the rules.
"""
