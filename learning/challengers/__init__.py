"""Champion and challengers: shadow mode, evidence, promotion and rollback on proof, the record of claims."""
