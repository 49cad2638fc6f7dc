"""CourseHub shown at work: a client of its REST API and WebSocket, and the main job played through on real courses."""
