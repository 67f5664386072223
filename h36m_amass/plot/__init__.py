"""Pictures and animations of poses."""
