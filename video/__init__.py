"""WebRTC rooms, video visits and appointments. Reserved: nothing is served from here yet."""
