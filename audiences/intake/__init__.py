"""What every event passes on its way into the ledger: tracking plan, search for machines, identity."""
