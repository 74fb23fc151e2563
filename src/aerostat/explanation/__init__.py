"""Why a detector found what it found: its layers, their maps over the photograph, and what they did."""
