//! Pins: which trees garbage collection keeps.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{MutexGuard, PoisonError},
};

use cid::Cid;

use super::{DagWalk, Store, sync_folder, write_flushed};
use crate::StoreError;

/// How much of a tree a pin keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PinType {
    /// The block and all below it.
    Recursive,
    /// The block alone.
    Direct,
}

impl PinType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Recursive => "recursive",
            Self::Direct => "direct",
        }
    }
}

/// A pin that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) pin_type: PinType,
    /// The user's name for it, possibly empty.
    pub(crate) name: String,
}

/// A pin that is asked for.
pub(crate) type PinMode = Pin;

impl Pin {
    pub(crate) fn recursive(name: impl Into<String>) -> Self {
        Self {
            pin_type: PinType::Recursive,
            name: name.into(),
        }
    }

    pub(crate) fn direct(name: impl Into<String>) -> Self {
        Self {
            pin_type: PinType::Direct,
            name: name.into(),
        }
    }
}

impl Store {
    /// Pins a tree after checking that all of it is here, or a single block.
    pub(crate) fn pin(&self, cid: &Cid, mode: &PinMode) -> Result<(), StoreError> {
        let _not_collecting = self.gc.read().unwrap_or_else(PoisonError::into_inner);
        self.pin_complete(cid, mode)
    }

    /// Like [`Store::pin`] while the garbage collector is held off.
    pub(super) fn pin_complete(&self, cid: &Cid, mode: &PinMode) -> Result<(), StoreError> {
        match mode.pin_type {
            PinType::Recursive => DagWalk::new(*cid).complete(self)?,
            PinType::Direct => {
                self.get(cid)?;
            }
        }
        self.write_pins(&[(*cid, mode.clone())])
    }

    /// Removes a pin.
    pub(crate) fn unpin(&self, cid: &Cid, recursive: bool) -> Result<(), StoreError> {
        let mut pins = self.lock_pins();
        let pin = pins.get(cid).ok_or(StoreError::NotPinned)?;
        if pin.pin_type == PinType::Recursive && !recursive {
            return Err(StoreError::RecursiveUnpin(*cid));
        }
        let path = self.pin_path(cid, pin.pin_type);
        fs::remove_file(&path).map_err(StoreError::io(path))?;
        pins.remove(cid);
        sync_folder(&self.root.join("pins"))
    }

    /// All pins at this moment.
    pub(crate) fn pins(&self) -> BTreeMap<Cid, Pin> {
        self.lock_pins().clone()
    }

    /// Writes pins down; a recursive pin takes the place of a direct one, never the reverse.
    pub(super) fn write_pins(&self, wanted: &[(Cid, PinMode)]) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut pins = self.lock_pins();
        for (cid, mode) in wanted {
            let current = pins.get(cid).cloned();
            match (mode.pin_type, current.as_ref().map(|pin| pin.pin_type)) {
                (PinType::Direct, Some(PinType::Recursive)) => {
                    return Err(StoreError::PinnedRecursively(*cid));
                }
                _ if current.as_ref() == Some(mode) => continue,
                _ => {}
            }
            let staged = self.staged_path();
            let path = self.pin_path(cid, mode.pin_type);
            write_flushed(&staged, mode.name.as_bytes())?;
            fs::rename(&staged, &path).map_err(StoreError::io(&path))?;
            pins.insert(*cid, mode.clone());
            if let Some(current) = current
                && current.pin_type != mode.pin_type
            {
                let replaced = self.pin_path(cid, current.pin_type);
                fs::remove_file(&replaced).map_err(StoreError::io(replaced))?;
            }
        }
        sync_folder(&self.root.join("pins"))
    }

    /// Every change is made on disk first and then in the map, so a panic in between leaves the
    /// map valid, only older.
    fn lock_pins(&self) -> MutexGuard<'_, BTreeMap<Cid, Pin>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin_path(&self, cid: &Cid, pin_type: PinType) -> PathBuf {
        let name = hex::encode(cid.to_bytes());
        self.root
            .join("pins")
            .join(format!("{name}.{}", pin_type.as_str()))
    }
}

/// Reads all pins at start.
pub(super) fn load(folder: &Path) -> Result<BTreeMap<Cid, Pin>, StoreError> {
    let mut pins = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(StoreError::io(folder))? {
        let path = entry.map_err(StoreError::io(folder))?.path();
        let (cid, pin_type) = parse_name(&path).ok_or_else(|| StoreError::Unusable {
            path: path.clone(),
            reason: "its name is not that of a pin",
        })?;
        let name = fs::read_to_string(&path).map_err(StoreError::io(&path))?;
        // Both files of a CID exist when the process died while one replaced the other.
        if pin_type == PinType::Recursive || !pins.contains_key(&cid) {
            pins.insert(cid, Pin { pin_type, name });
        }
    }
    Ok(pins)
}

fn parse_name(path: &Path) -> Option<(Cid, PinType)> {
    let (cid, pin_type) = path.file_name()?.to_str()?.split_once('.')?;
    let cid = Cid::try_from(hex::decode(cid).ok()?).ok()?;
    match pin_type {
        "recursive" => Some((cid, PinType::Recursive)),
        "direct" => Some((cid, PinType::Direct)),
        _ => None,
    }
}
