"""Simulated phones: hundreds in one process, for the demonstration, its check, and load.

They speak real SIP and RTP over the network like any phone, but hear with a Goertzel filter
instead of ears. `sip.probe` has the independent phone that proofs stand on.
"""
