//! What holds of every node. Texts and CIDs here were first seen at Kubo.

mod add;
mod block;
mod cat;
mod dag;
mod http;
mod pin;

use crate::client::Api;

pub(crate) async fn run(api: &Api) {
    http::methods_and_unknown_commands(api).await;
    http::missing_and_malformed_arguments(api).await;
    http::node_information(api).await;
    add::one_line_a_file(api).await;
    add::folders(api).await;
    add::options(api).await;
    add::parallel_uploads(api).await;
    cat::ranges(api).await;
    cat::several_files(api).await;
    cat::paths(api).await;
    cat::what_is_not_a_file(api).await;
    block::put_get_stat(api).await;
    block::remove(api).await;
    block::refusals(api).await;
    pin::life_of_a_pin(api).await;
    pin::direct_and_recursive(api).await;
    pin::names_and_streaming(api).await;
    pin::refusals(api).await;
    dag::export_then_import(api).await;
    dag::several_cars(api).await;
    dag::incomplete_trees(api).await;
    dag::damaged_cars(api).await;
    pin::garbage_collection(api).await;
}

/// A CID that no node here has.
pub(crate) const ABSENT: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

/// Content that no other test adds, so that tests do not unpin each other's blocks.
pub(crate) fn unique(test: &str, length: usize) -> Vec<u8> {
    let seed = test.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    (0..length as u32)
        .map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}
