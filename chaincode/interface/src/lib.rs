//! Transaction names, types, events and error codes of Salus's contracts
