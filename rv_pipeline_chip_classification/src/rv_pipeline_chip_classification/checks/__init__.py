"""What is found wrong before anything is started: at once, and with images and labels open."""
