"""Call control as pure state machines: two legs and a call between them (B2BUA)."""
