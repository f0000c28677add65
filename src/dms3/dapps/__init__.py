"""Apps that come with dms3: folders of plain Python, as a person would write them."""
