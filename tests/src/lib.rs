//! Testkit and tests of the whole system
