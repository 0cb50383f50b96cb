//! Issues Fabric certificates and writes the MSP folder layout
