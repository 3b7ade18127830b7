//! lastgood.
