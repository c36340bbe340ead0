"""Protobuf <-> domain, one file a message group: `x_to_proto`, `x_from_proto`. Nothing inside sees protobuf.

What comes from outside is checked here: sizes, ids, counts. A value that passed is safe to store and to show.
"""
