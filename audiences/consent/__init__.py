"""Who may be written to: consent by purpose and channel, and addresses that nobody may write to."""
