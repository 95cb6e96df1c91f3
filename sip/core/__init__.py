"""The SIP protocol without input or output: bytes and `now` in; datagrams, events and a timer out."""
