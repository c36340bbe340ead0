"""Converts messages to domain values and back, one file per group of messages: `x_to_proto`, `x_from_proto`.

No other package below rpc/ sees protobuf. The conversions check sizes, ids and counts, so a converted value is safe to store and show.
"""
