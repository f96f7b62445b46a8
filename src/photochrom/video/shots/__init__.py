"""Find the shots of a film, and what is known of each before it is colorized."""
