"""A provider on this machine: it speaks what real ones speak, can be told to fail, and lists what it took."""
