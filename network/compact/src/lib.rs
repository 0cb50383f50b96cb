//! Rewrites the LevelDB folders of a stopped Fabric peer, so that what was deleted or overwritten is
//! in no file any more.
//!
//! LevelDB deletes by adding: a deleted value stays in older tables and write-ahead logs until a
//! compaction happens to merge them. Fabric has no command that makes a peer compact all of them.
//! [`compact`] does it from outside: it reads what is live, writes it into new tables beside the old
//! ones, reads it back, switches over by renaming one file, as LevelDB itself does, and removes the
//! old files. The README says why it is safe to kill at any moment.

mod block;
mod compaction;
mod error;
mod files;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod key;
mod manifest;
mod merge;
mod new_files;
mod snapshot;
mod table;
mod table_writer;
mod wire;

pub use compaction::{Compacted, compact, read};
pub use error::CompactError;
pub use snapshot::Summary;
