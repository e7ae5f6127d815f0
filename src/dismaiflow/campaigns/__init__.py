"""What spans rooms: datasets with their controls, and studies."""
