"""Sockets under the SIP core: bytes in, bytes out."""
