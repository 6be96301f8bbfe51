"""What a file says: volumes with their geometry, regions and masks in them, and samples."""
