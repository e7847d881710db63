"""People of the staff: who they are, their tasks, how these come to them and what becomes of them."""
