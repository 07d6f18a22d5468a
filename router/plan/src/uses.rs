//! How a statement uses its parameters: an undeclared `$n` gets its type from the place where it stands, so it is
//! taken for a key only if all its places agree.

use crate::value::family;
use shardgate_shard_map::KeyType;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Beside a column of this type (or cast to it, or assigned to it); an array of it.
    Typed(KeyType, bool),
    /// Anywhere else, or in places that disagree.
    Mixed,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    by_number: HashMap<u16, Use>,
}

impl Uses {
    /// `$number` stands where Postgres gives it the type `ty`, or an array of it.
    pub(crate) fn typed(&mut self, number: u16, ty: KeyType, array: bool) {
        self.by_number
            .entry(number)
            .and_modify(|known| match known {
                Use::Typed(other, arrays) if family(*other) == family(ty) && *arrays == array => {}
                Use::Typed(..) | Use::Mixed => *known = Use::Mixed,
            })
            .or_insert(Use::Typed(ty, array));
    }

    /// `$number` stands somewhere else.
    pub(crate) fn other(&mut self, number: u16) {
        self.by_number.insert(number, Use::Mixed);
    }

    /// All places of `$number` give it a type of the family of `ty`.
    pub(crate) fn agree(&self, number: u16, ty: KeyType, array: bool) -> bool {
        match self.by_number.get(&number) {
            Some(Use::Typed(other, arrays)) => family(*other) == family(ty) && *arrays == array,
            Some(Use::Mixed) | None => false,
        }
    }
}
