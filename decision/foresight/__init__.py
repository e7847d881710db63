"""What is seen of playbooks before they run: lint, rehearsals, the calendar."""
