"""Machine "validation": everybody's operations, judged, held, answered and found."""
