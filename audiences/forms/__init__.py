"""Forms of the company's sites: what visitors fill in becomes identity, event, consent and tag at once."""
