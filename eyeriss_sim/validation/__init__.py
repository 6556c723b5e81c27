"""The model beside published figures, which it knows nothing of."""
