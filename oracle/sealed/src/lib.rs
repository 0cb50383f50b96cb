//! Sealed objects: streaming encryption in Tink's format and key wrapping
