//! Client of Fabric's Gateway service
