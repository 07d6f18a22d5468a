//! What must hold in a map before anything is routed by it.

use crate::key::{Key, KeyType};
use crate::map::{BUCKETS_MAX, Method, ShardMap};

/// Why a map cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    #[error("a hash map needs a power of two of buckets from 1 to {BUCKETS_MAX}, and not {0}")]
    Buckets(usize),
    #[error("{bounds} bounds make {} ranges, but {owners} have an owner", bounds + 1)]
    Lengths { bounds: usize, owners: usize },
    #[error("the bound {next} does not lie above the bound {previous}")]
    NotAscending { previous: Key, next: Key },
    #[error("the value {key} is not of the key type {key_type}")]
    WrongType { key: Key, key_type: KeyType },
    #[error("a list map needs at least one value or a default")]
    EmptyList,
}

impl ShardMap {
    /// Checks the number of buckets, the order and number of bounds, and the type of every value.
    pub fn validate(&self) -> Result<(), MapError> {
        for key in self.pins.keys() {
            self.check_type(key)?;
        }
        match &self.method {
            Method::Hash { owners } => {
                let fits = u32::try_from(owners.len()).is_ok_and(|count| count <= BUCKETS_MAX);
                if !owners.len().is_power_of_two() || !fits {
                    return Err(MapError::Buckets(owners.len()));
                }
            }
            Method::Range { bounds, owners } => {
                if owners.len() != bounds.len() + 1 {
                    return Err(MapError::Lengths {
                        bounds: bounds.len(),
                        owners: owners.len(),
                    });
                }
                for bound in bounds {
                    self.check_type(bound)?;
                }
                for (previous, next) in bounds.iter().zip(bounds.iter().skip(1)) {
                    if previous >= next {
                        return Err(MapError::NotAscending {
                            previous: previous.clone(),
                            next: next.clone(),
                        });
                    }
                }
            }
            Method::List { values, default } => {
                if values.is_empty() && default.is_none() {
                    return Err(MapError::EmptyList);
                }
                for value in values.keys() {
                    self.check_type(value)?;
                }
            }
        }
        Ok(())
    }

    fn check_type(&self, key: &Key) -> Result<(), MapError> {
        if self.key_type.takes(key) {
            Ok(())
        } else {
            Err(MapError::WrongType {
                key: key.clone(),
                key_type: self.key_type,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::ShardId;
    use std::collections::HashMap;

    fn check(method: Method, expect: Result<(), &str>) {
        let map = ShardMap {
            key_type: KeyType::Int8,
            method,
            pins: HashMap::new(),
        };
        let got = map.validate().map_err(|error| error.to_string());
        assert_eq!(got, expect.map_err(str::to_owned));
    }

    #[test]
    fn hash_maps_have_a_power_of_two_of_buckets() {
        let hash = |buckets| Method::Hash {
            owners: vec![ShardId(1); buckets],
        };
        for good in [1, 2, 4096, 65536] {
            check(hash(good), Ok(()));
        }
        for bad in [0, 3, 4095, 65537, 131072] {
            let message = format!(
                "a hash map needs a power of two of buckets from 1 to 65536, and not {bad}"
            );
            check(hash(bad), Err(&message));
        }
    }

    #[test]
    fn ranges_ascend_and_have_owners() {
        let range = |bounds: &[i64], owners| Method::Range {
            bounds: bounds.iter().copied().map(Key::Int).collect(),
            owners: vec![ShardId(1); owners],
        };
        check(range(&[], 1), Ok(()));
        check(range(&[-5, 0, 5], 4), Ok(()));
        check(
            range(&[1, 2], 2),
            Err("2 bounds make 3 ranges, but 2 have an owner"),
        );
        check(
            range(&[], 0),
            Err("0 bounds make 1 ranges, but 0 have an owner"),
        );
        check(
            range(&[1, 1], 3),
            Err("the bound 1 does not lie above the bound 1"),
        );
        check(
            range(&[0, 2, 1], 4),
            Err("the bound 1 does not lie above the bound 2"),
        );
    }

    #[test]
    fn values_are_of_the_key_type() {
        let text = || Key::Text("x".into());
        let expect = Err("the value x is not of the key type int8");
        check(
            Method::Range {
                bounds: vec![text()],
                owners: vec![ShardId(1); 2],
            },
            expect,
        );
        let values = HashMap::from([(text(), ShardId(1))]);
        check(
            Method::List {
                values,
                default: None,
            },
            expect,
        );
        let empty = Method::List {
            values: HashMap::new(),
            default: None,
        };
        check(
            empty,
            Err("a list map needs at least one value or a default"),
        );
        let map = ShardMap {
            key_type: KeyType::Int8,
            method: Method::Hash {
                owners: vec![ShardId(1)],
            },
            pins: HashMap::from([(text(), ShardId(1))]),
        };
        assert!(map.validate().is_err());
    }
}
