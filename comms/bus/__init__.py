"""Messages between the roles, and the streams that carry them."""
