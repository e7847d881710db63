"""Accounts: the companies that users belong to, as messages of the type group say."""
