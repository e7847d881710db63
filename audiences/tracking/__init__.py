"""The Segment tracking spec over HTTP: messages read, checked one by one, and answered one by one."""
