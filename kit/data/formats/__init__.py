"""What Pillow and OpenCV do not read: each format's library in a file of its own, missed only where one is met."""
