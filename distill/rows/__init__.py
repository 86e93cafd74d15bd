"""What a student reads: written by a teacher, filtered, judged, transformed."""
