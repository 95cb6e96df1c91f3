"""Telephony: SIP core, transports, registrar, call control (B2BUA), trunks and media engines."""
