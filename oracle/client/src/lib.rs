//! Client library and command line of Salus
