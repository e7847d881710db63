"""What every room stands on: engine, migrations, the ledger, group commit, leases, clock."""
