"""Links in messages that lead back to us: tracked ones, pixels, and those by which users end messages."""
