//! Messages and gRPC services of Hyperledger Fabric, as they are on the wire.
//!
//! The files under `proto/` declare the messages that this workspace uses, with upstream's
//! names, packages and field numbers; `tests/bootstrap.rs` turns them into `src/generated/` and
//! fails when the two differ, so building this crate needs no protobuf compiler. One module here
//! is one protobuf package. Mind two traps of upstream's layout: everything under `peer/` is
//! package `protos`, and `msp/msp_principal.proto` is package `common`.

pub use generated::{
    common, gateway, google, kvrwset, lifecycle, msp, orderer, protos, queryresult, rwset,
};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::str_to_string,
    clippy::use_self,
    reason = "generated code; the .proto files are its documentation"
)]
mod generated {
    pub mod common {
        include!("generated/common.rs");
    }
    pub mod gateway {
        include!("generated/gateway.rs");
    }
    pub mod google {
        pub mod rpc {
            include!("generated/google.rpc.rs");
        }
    }
    pub mod kvrwset {
        include!("generated/kvrwset.rs");
    }
    pub mod lifecycle {
        include!("generated/lifecycle.rs");
    }
    pub mod msp {
        include!("generated/msp.rs");
    }
    pub mod orderer {
        include!("generated/orderer.rs");
    }
    pub mod protos {
        include!("generated/protos.rs");
    }
    pub mod queryresult {
        include!("generated/queryresult.rs");
    }
    pub mod rwset {
        include!("generated/rwset.rs");
    }
}
