"""Teachers: sentence transformers, to start a static model from and to compare it with."""
