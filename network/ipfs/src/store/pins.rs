//! Pins: which trees garbage collection keeps.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    sync::{MutexGuard, PoisonError},
};

use cid::Cid;

use super::{DagWalk, Store, sync_files, sync_folder};
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
        match mode.pin_type {
            PinType::Recursive => self.check_tree(cid)?,
            PinType::Direct => {
                self.get(cid)?;
            }
        }
        self.write_pins(&[(*cid, mode.clone())])
    }

    /// Checks that every block of a tree is here. The caller holds the garbage collector off.
    pub(super) fn check_tree(&self, root: &Cid) -> Result<(), StoreError> {
        DagWalk::new(*root).complete(self)
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
        let mut changed = BTreeMap::new();
        for (cid, mode) in wanted {
            match pins.get(cid) {
                Some(current) if current == mode => {}
                Some(current)
                    if current.pin_type == PinType::Recursive
                        && mode.pin_type == PinType::Direct =>
                {
                    return Err(StoreError::PinnedRecursively(*cid));
                }
                _ => {
                    changed.insert(*cid, (mode, self.staged_path()));
                }
            }
        }
        for (mode, staged) in changed.values() {
            fs::write(staged, &mode.name).map_err(StoreError::io(staged))?;
        }
        let staged: Vec<_> = changed
            .values()
            .map(|(_, staged)| staged.as_path())
            .collect();
        sync_files(&staged)?;
        for (cid, (mode, staged)) in changed {
            let path = self.pin_path(&cid, mode.pin_type);
            fs::rename(staged, &path).map_err(StoreError::io(path))?;
            let replaced = pins.insert(cid, mode.clone());
            if let Some(replaced) = replaced
                && replaced.pin_type != mode.pin_type
            {
                let path = self.pin_path(&cid, replaced.pin_type);
                fs::remove_file(&path).map_err(StoreError::io(path))?;
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
    let mut direct = Vec::new();
    for entry in fs::read_dir(folder).map_err(StoreError::io(folder))? {
        let path = entry.map_err(StoreError::io(folder))?.path();
        let (cid, pin_type) = parse_name(&path).ok_or_else(|| StoreError::Unusable {
            path: path.clone(),
            reason: "its name is not that of a pin",
        })?;
        let name = fs::read_to_string(&path).map_err(StoreError::io(&path))?;
        match pin_type {
            PinType::Recursive => {
                pins.insert(cid, Pin::recursive(name));
            }
            PinType::Direct => direct.push((cid, Pin::direct(name), path)),
        }
    }
    for (cid, pin, path) in direct {
        match pins.entry(cid) {
            Entry::Vacant(place) => {
                place.insert(pin);
            }
            // The process died between writing the recursive pin and removing this one, which
            // must not come back when the recursive one goes.
            Entry::Occupied(_) => fs::remove_file(&path).map_err(StoreError::io(path))?,
        }
    }
    sync_folder(folder)?;
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
