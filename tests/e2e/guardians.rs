//! A guardian's grants, and their end together with the guardian's.

use contract_interface::access::{Happening, NoticeFilter};
use salus_tests::{story, system::Platform};

use crate::support::{Running, is_here};

#[tokio::test]
async fn who_held_a_former_guardians_grant_is_told_of_its_end() {
    end_with_the_guardian(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn who_held_a_former_guardians_grant_is_told_of_its_end_on_real_fabric() {
    let test = "who_held_a_former_guardians_grant_is_told_of_its_end_on_real_fabric";
    if is_here(test, Platform::REAL) {
        end_with_the_guardian(Platform::REAL).await;
    }
}

async fn end_with_the_guardian(platform: Platform) {
    let running = Running::start(platform, 2).await;
    let [ward, guardian] = &running.cast.patients[..] else {
        panic!("two patients were enrolled")
    };
    let (patient, id) = (ward.pseudonym.to_string(), guardian.pseudonym.to_string());
    let add = ["guardians", "add", "--power", "grant", "--guardian", &id];
    let add = [&add[..], &["--valid-until", "365d"]].concat();
    let added = running.salus(&ward.person, &add).await;
    let delegation = added["delegation_id"].as_str().unwrap();

    let grantee = format!("participant:{}", running.cast.provider_id);
    let give = ["grants", "give", "--for", &patient, "--to", &grantee];
    let give = [&give[..], &["--purpose", "TREAT"]].concat();
    let given = running.salus(&guardian.person, &give).await;
    // The patient's own grant stays.
    let own = ["grants", "give", "--to", &grantee, "--purpose", "HPAYMT"];
    running.salus(&ward.person, &own).await;

    let remove = ["guardians", "remove", delegation, "--end-grants"];
    let removed = running.salus(&ward.person, &remove).await;
    assert_eq!(removed["grants_revoked"], "1", "{removed}");
    let provider = story::client(&running.cast.provider).unwrap();
    let notices = provider.notices(NoticeFilter::default()).await.unwrap();
    let told: Vec<String> = notices
        .iter()
        .filter_map(|notice| match &notice.happening {
            Happening::GrantRevoked { grant_id } => Some(grant_id.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(told, [given["grant_id"].as_str().unwrap()]);
    running.system.stop().await.unwrap();
}
