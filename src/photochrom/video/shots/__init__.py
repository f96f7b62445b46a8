"""Find the shots of a video, and what is known of each before it is colorized."""
