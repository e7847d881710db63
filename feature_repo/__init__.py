"""The Feast repository: entities, sources, behaviour aggregates as data, the views made of them, services."""
