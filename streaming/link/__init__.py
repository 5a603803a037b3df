"""The gateway's end of the bus: its ticks, its wants and what it knows of each feed."""
