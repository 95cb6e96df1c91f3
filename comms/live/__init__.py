"""Live views: what waits, who serves and which calls go on, pushed to browsers as it happens."""
