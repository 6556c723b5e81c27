"""The chip itself: real words moved cycle by cycle; judge of the counting model."""
