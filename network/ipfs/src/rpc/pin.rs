//! `pin/add`, `pin/rm`, `pin/ls`.

use std::collections::BTreeMap;

use cid::Cid;
use serde::Serialize;

use super::{
    answer::{Answer, RpcError},
    blocking,
    request::Request,
};
use crate::{
    Store, StoreError,
    path::ContentPath,
    store::{DagWalk, Pin, PinType},
};

/// Longest pin name, in bytes, as in Kubo.
const MAX_PIN_NAME_BYTES: usize = 255;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pins {
    pins: Vec<String>,
}

pub(super) fn pin_name(name: Option<&str>) -> Result<String, RpcError> {
    let name = name.unwrap_or_default();
    if name.len() > MAX_PIN_NAME_BYTES {
        return Err(RpcError::PinName(MAX_PIN_NAME_BYTES));
    }
    Ok(name.to_owned())
}

pub(super) async fn add(request: Request) -> Result<Answer, RpcError> {
    let name = pin_name(request.option("name"))?;
    let pin = if request.flag("recursive")?.unwrap_or(true) {
        Pin::recursive(name)
    } else {
        Pin::direct(name)
    };
    let paths = paths(&request)?;
    let pins = blocking(move || {
        let mut pins = Vec::new();
        for path in paths {
            let cid = path.resolve(&request.store)?;
            request.store.pin(&cid, &pin).map_err(RpcError::Pin)?;
            pins.push(cid.to_string());
        }
        Ok::<_, RpcError>(pins)
    })
    .await?;
    Answer::json(&Pins { pins })
}

pub(super) async fn remove(request: Request) -> Result<Answer, RpcError> {
    let recursive = request.flag("recursive")?.unwrap_or(true);
    let paths = paths(&request)?;
    let pins = blocking(move || {
        let mut pins = Vec::new();
        for path in paths {
            let cid = path.resolve(&request.store)?;
            request.store.unpin(&cid, recursive)?;
            pins.push(cid.to_string());
        }
        Ok::<_, RpcError>(pins)
    })
    .await?;
    Answer::json(&Pins { pins })
}

fn paths(request: &Request) -> Result<Vec<ContentPath>, RpcError> {
    let arguments = request.required_arguments("ipfs-path")?;
    let paths = arguments.iter().map(|path| ContentPath::parse(path));
    Ok(paths.collect::<Result<_, _>>()?)
}

/// Which pins a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    All,
    Indirect,
    Only(PinType),
}

impl Filter {
    fn parse(text: Option<&str>) -> Result<Self, RpcError> {
        match text {
            None | Some("" | "all") => Ok(Self::All),
            Some("indirect") => Ok(Self::Indirect),
            Some("recursive") => Ok(Self::Only(PinType::Recursive)),
            Some("direct") => Ok(Self::Only(PinType::Direct)),
            Some(other) => Err(RpcError::PinType(other.to_owned())),
        }
    }

    fn shows(self, pin_type: PinType) -> bool {
        self == Self::All || self == Self::Only(pin_type)
    }

    fn shows_indirect(self) -> bool {
        matches!(self, Self::All | Self::Indirect)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PinLine {
    #[serde(rename = "Type")]
    pin_type: String,
    name: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PinList {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    keys: BTreeMap<String, PinLine>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamedPin {
    cid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "Type")]
    pin_type: String,
}

pub(super) async fn list(request: Request) -> Result<Answer, RpcError> {
    let filter = Filter::parse(request.option("type"))?;
    let wanted_name = pin_name(request.option("name"))?;
    let names = request.flag("names")?.unwrap_or(false) || !wanted_name.is_empty();
    let streamed = request.flag("stream")?.unwrap_or(false);
    let arguments = request.arguments();
    let mut keys = blocking(move || {
        if arguments.is_empty() {
            Ok(all(&request.store, filter)?)
        } else {
            some(&request.store, filter, &arguments)
        }
    })
    .await?;
    keys.retain(|_, line| line.name.contains(&wanted_name));
    if !names {
        keys.values_mut().for_each(|line| line.name.clear());
    }
    if !streamed {
        return Answer::json(&PinList { keys });
    }
    Answer::json_lines(keys.into_iter().map(|(cid, line)| StreamedPin {
        cid,
        name: line.name,
        pin_type: line.pin_type,
    }))
}

fn all(store: &Store, filter: Filter) -> Result<BTreeMap<String, PinLine>, StoreError> {
    let pins = store.pins();
    let mut lines = BTreeMap::new();
    if filter.shows_indirect() {
        for cid in indirect(store, &pins)? {
            let line = PinLine {
                pin_type: "indirect".to_owned(),
                name: String::new(),
            };
            lines.insert(cid.to_string(), line);
        }
    }
    for (cid, pin) in pins.iter().filter(|(_, pin)| filter.shows(pin.pin_type)) {
        lines.insert(cid.to_string(), line(pin));
    }
    Ok(lines)
}

/// All blocks below recursive pins that are not pinned themselves.
fn indirect(store: &Store, pins: &BTreeMap<Cid, Pin>) -> Result<Vec<Cid>, StoreError> {
    let mut found = Vec::new();
    let mut roots = recursive(pins);
    let Some(first) = roots.next() else {
        return Ok(found);
    };
    let mut walk = DagWalk::new(*first);
    roots.for_each(|root| walk.add_root(*root));
    while let Some(cid) = walk.next_cid(store)? {
        if !pins.contains_key(&cid) {
            found.push(cid);
        }
    }
    Ok(found)
}

fn recursive(pins: &BTreeMap<Cid, Pin>) -> impl Iterator<Item = &Cid> {
    pins.iter()
        .filter(|(_, pin)| pin.pin_type == PinType::Recursive)
        .map(|(cid, _)| cid)
}

fn some(
    store: &Store,
    filter: Filter,
    arguments: &[String],
) -> Result<BTreeMap<String, PinLine>, RpcError> {
    let pins = store.pins();
    let mut lines = BTreeMap::new();
    for argument in arguments {
        let cid = ContentPath::parse(argument)?.resolve(store)?;
        let found = match pins.get(&cid) {
            Some(pin) if filter.shows(pin.pin_type) => Some(line(pin)),
            Some(_) => None,
            None if filter.shows_indirect() => indirect_line(store, &pins, &cid)?,
            None => None,
        };
        let found = found.ok_or_else(|| RpcError::PathNotPinned(argument.clone()))?;
        lines.insert(cid.to_string(), found);
    }
    Ok(lines)
}

fn indirect_line(
    store: &Store,
    pins: &BTreeMap<Cid, Pin>,
    wanted: &Cid,
) -> Result<Option<PinLine>, StoreError> {
    for root in recursive(pins) {
        let mut walk = DagWalk::new(*root);
        while let Some(cid) = walk.next_cid(store)? {
            if cid == *wanted {
                return Ok(Some(PinLine {
                    pin_type: format!("indirect through {root}"),
                    name: String::new(),
                }));
            }
        }
    }
    Ok(None)
}

fn line(pin: &Pin) -> PinLine {
    PinLine {
        pin_type: pin.pin_type.as_str().to_owned(),
        name: pin.name.clone(),
    }
}
