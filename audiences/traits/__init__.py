"""Traits: what sources say a user is, and which of them counts where they disagree."""
