"""Log-in: passwords, sessions and what slows down those who guess."""
