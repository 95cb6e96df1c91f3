"""The SIP protocol without input or output.

Bytes and `now` go in; datagrams, events and one timer come out.
"""
