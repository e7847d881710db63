"""How good the data is: what came in by source and hour, and how much of it anything uses."""
