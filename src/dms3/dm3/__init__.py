"""The dm3 protocol's formats: JSON, keys, profiles, messages, envelopes, postmarks, names.

Source: the dm3 specification (DM3MTP) and its reference implementation, github.com/dm3-org/dm3;
where the two differ, the implementation (docs/dm3.md lists where). Usable alone: no subsystem of
dms3 is inside.
"""
