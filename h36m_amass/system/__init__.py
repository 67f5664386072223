"""What every room needs of the machine: files written whole, devices, disk room, signals."""
