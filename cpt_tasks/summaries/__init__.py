"""What a report says of each benchmark besides `rubric_adherence`: one section per module."""
