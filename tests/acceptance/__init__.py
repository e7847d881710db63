"""Stories, told over HTTP to services that run."""
